package bpf

import (
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/google/go-cmp/cmp"
)

// object is one of our programs with its maps, committed for both byte orders.
type object struct {
	name    string
	program string
	attach  ebpf.AttachType
	schema  uint64
	mirrors map[string]any // the Go types that stand for C types
}

var objects = []object{
	{"steer", SteerProgAnyportSteer, ebpf.AttachSkLookup, uint64(SteerSchemaSCHEMA), map[string]any{
		"action": SteerAction{}, "counter": SteerCounter{}, "dst4_key": SteerDst4Key{}, "dst6_key": SteerDst6Key{},
		"interval": SteerInterval{}, "list": SteerList{}, "meta": SteerMeta{}, "node": SteerNode{}, "row": SteerRow{},
		"rule": SteerRule{}, "sample": SteerSample{}, "src4_key": SteerSrc4Key{}, "src6_key": SteerSrc6Key{},
	}},
	{"offload", OffloadProgAnyportOffload, ebpf.AttachTCXIngress, uint64(OffloadSchemaSCHEMA), map[string]any{
		"bucket": OffloadBucket{}, "flow": OffloadFlow{}, "half": OffloadHalf{}, "ip_address": OffloadIpAddress{},
		"meta": OffloadMeta{}, "path": OffloadPath{}, "route": OffloadRoute{}, "tuple": OffloadTuple{},
	}},
	{"transmit", TransmitProgAnyportTransmit, ebpf.AttachNone, 0, map[string]any{"train": TransmitTrain{}}}, // nothing pinned
}

// files returns the object of little-endian and that of big-endian machines.
func (o object) files() []string { return []string{o.name + "_bpfel.o", o.name + "_bpfeb.o"} }

func load(t *testing.T, object string) *ebpf.CollectionSpec {
	t.Helper()
	spec, err := ebpf.LoadCollectionSpec(object)
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

// TestMirrors checks that each Go type has the size and the field offsets of its C type, and no implicit padding:
// without that cilium/ebpf copies it as it is.
func TestMirrors(t *testing.T) {
	for _, o := range objects {
		for _, file := range o.files() {
			types := load(t, file).Types
			for name, mirror := range o.mirrors {
				var c *btf.Struct
				if err := types.TypeByName(name, &c); err != nil {
					t.Fatalf("%s: %v", file, err)
				}
				compare(t, file, c, reflect.TypeOf(mirror))
			}
		}
	}
}

func compare(t *testing.T, object string, c *btf.Struct, mirror reflect.Type) {
	t.Helper()
	if uintptr(c.Size) != mirror.Size() {
		t.Errorf("%s: struct %s has %d bytes, %s has %d", object, c.Name, c.Size, mirror, mirror.Size())
	}
	end := uint32(0)
	for _, m := range c.Members {
		field, ok := mirror.FieldByName(goName(m.Name))
		if !ok {
			t.Errorf("%s: %s lacks %s of struct %s", object, mirror, m.Name, c.Name)
			continue
		}
		size, err := btf.Sizeof(m.Type)
		if err != nil {
			t.Fatal(err)
		}
		if uintptr(m.Offset.Bytes()) != field.Offset || uintptr(size) != field.Type.Size() {
			t.Errorf("%s: %s.%s lies at %d with %d bytes, %s.%s at %d with %d", object, c.Name, m.Name,
				m.Offset.Bytes(), size, mirror, field.Name, field.Offset, field.Type.Size())
		}
		if m.Offset.Bytes() != end {
			t.Errorf("%s: padding before %s.%s", object, c.Name, m.Name)
		}
		end = m.Offset.Bytes() + uint32(size)
	}
	if end != c.Size {
		t.Errorf("%s: padding at the end of %s", object, c.Name)
	}
}

// goName is the name that bpf2go gives a field.
func goName(c string) string {
	var name strings.Builder
	for word := range strings.SplitSeq(c, "_") {
		name.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return name.String()
}

// layout is all that a process of another version has to agree on: the maps and the types in them.
type layout struct {
	Schema uint64
	Maps   map[string]mapLayout
	Types  map[string][]string // struct -> fields, enum -> values
}

type mapLayout struct {
	Type, Key, Value string
	KeySize          uint32
	ValueSize        uint32
	Flags            uint32
}

// TestSchema compares the layout with the one that is noted for the schema number. Whoever changes the layout of
// something pinned raises SCHEMA in shared.h or flows.h, and then notes the new layout: UPDATE=1 go test ./bpf
func TestSchema(t *testing.T) {
	for _, o := range objects {
		for _, file := range o.files() {
			checkSchema(t, o, file)
		}
	}
}

func checkSchema(t *testing.T, o object, file string) {
	t.Helper()
	noted := "testdata/" + o.name + ".json"
	text, err := json.MarshalIndent(layoutOf(o.schema, load(t, file)), "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(noted, append(text, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(noted)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(text)+"\n"); diff != "" {
		t.Errorf("%s: the layout is not that of schema %d:\n%s", file, o.schema, diff)
	}
}

func layoutOf(schema uint64, spec *ebpf.CollectionSpec) layout {
	l := layout{Schema: schema, Maps: make(map[string]mapLayout), Types: make(map[string][]string)}
	for name, m := range spec.Maps {
		if strings.HasPrefix(name, ".") {
			continue
		}
		l.Maps[name] = mapLayout{Type: m.Type.String(), Key: typeName(m.Key), Value: typeName(m.Value),
			KeySize: m.KeySize, ValueSize: m.ValueSize, Flags: m.Flags}
		l.note(m.Key)
		l.note(m.Value)
	}
	return l
}

// note adds a type and the types of its fields.
func (l *layout) note(typ btf.Type) {
	switch typ := typ.(type) {
	case *btf.Struct:
		fields := []string{}
		for _, m := range typ.Members {
			fields = append(fields, typeName(m.Type)+" "+m.Name)
			l.note(m.Type)
		}
		l.Types[typ.Name] = fields
	case *btf.Enum:
		values := []string{}
		for _, v := range typ.Values {
			values = append(values, v.Name)
		}
		l.Types[typ.Name] = values
	}
}

func typeName(typ btf.Type) string {
	switch typ := typ.(type) {
	case nil:
		return ""
	case *btf.Array:
		return strings.TrimSpace(typeName(typ.Type)) + "[]"
	default:
		return typ.TypeName()
	}
}

// TestBothByteOrders checks that the two objects hold the same program, less the byte order.
func TestBothByteOrders(t *testing.T) {
	for _, o := range objects {
		little, big := load(t, o.files()[0]), load(t, o.files()[1])
		if n, m := len(little.Programs), len(big.Programs); n != 1 || m != 1 {
			t.Fatalf("%d and %d programs", n, m)
		}
		if p := little.Programs[o.program]; p.License != "Dual BSD/GPL" || p.AttachType != o.attach {
			t.Errorf("program is %+v", p)
		}
		if n, m := len(little.Maps), len(big.Maps); n != m {
			t.Errorf("%d and %d maps", n, m)
		}
	}
}
