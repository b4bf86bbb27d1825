package offload

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"anyport/bpf"
)

// flowMaps are the maps of bpf/flows.h. Reading counters and writing flows take no system call.
type flowMaps struct {
	byName map[string]*ebpf.Map
	memory [][]byte          // of maps that are mapped into memory:
	flows  []bpf.OffloadFlow // this one,
	index  index             // buckets,
	meta   *bpf.OffloadMeta  // and this
}

// mapNames are the pinned maps; the last one says that the others are complete.
var mapNames = []string{bpf.OffloadMapFlows, bpf.OffloadMapBuckets, bpf.OffloadMapRoutes, bpf.OffloadMapOutcomes,
	bpf.OffloadMapMeta}

// offloadSpec returns what the embedded object holds. It is shared: copy what is to be changed.
var offloadSpec = sync.OnceValues(bpf.LoadOffload)

// openMaps opens the maps that are pinned in dir, or makes them for n flows. Maps that are there keep their size. Maps of
// another schema are thrown away with their flows, whose datagrams then come to the sockets as those of new flows.
func openMaps(dir string, n int) (*flowMaps, error) {
	m := &flowMaps{byName: make(map[string]*ebpf.Map)}
	err := m.open(dir)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errSchema) {
		m.close()
		if err = removePins(dir); err == nil {
			err = m.make(dir, n)
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open flow maps: %w", err), m.close())
	}
	m.index.tidy()
	return m, nil
}

var errSchema = errors.New("the flow maps have another layout")

func (m *flowMaps) open(dir string) error {
	for _, name := range mapNames {
		opened, err := ebpf.LoadPinnedMap(filepath.Join(dir, name), nil)
		if err != nil {
			return err
		}
		m.byName[name] = opened
	}
	// Of another schema, the rest may have another size, too.
	meta, err := m.byName[bpf.OffloadMapMeta].LookupBytes(uint32(0))
	if err != nil {
		return fmt.Errorf("read state of flow maps: %w", err)
	}
	if bpf.OffloadSchema(binary.NativeEndian.Uint32(meta)) != bpf.OffloadSchemaSCHEMA {
		return errSchema
	}
	return m.mapAll()
}

func (m *flowMaps) make(dir string, n int) error {
	spec, err := offloadSpec()
	if err != nil {
		return err
	}
	spec = spec.Copy()
	spec.Maps[bpf.OffloadMapFlows].MaxEntries = uint32(n)
	spec.Maps[bpf.OffloadMapBuckets].MaxEntries = bucketsFor(n)
	for _, name := range mapNames {
		if m.byName[name], err = ebpf.NewMap(spec.Maps[name]); err != nil {
			return fmt.Errorf("make map %s: %w", name, err)
		}
	}
	meta := bpf.OffloadMeta{Schema: bpf.OffloadSchemaSCHEMA, Seed: rand.Uint64()}
	if err := m.byName[bpf.OffloadMapMeta].Put(uint32(0), &meta); err != nil {
		return fmt.Errorf("write state of flow maps: %w", err)
	}
	for _, name := range mapNames {
		if err := m.byName[name].Pin(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("pin map %s: %w", name, err)
		}
	}
	return m.mapAll()
}

// mapAll maps into memory what is to be read and written without system calls.
func (m *flowMaps) mapAll() error {
	flows, err := mapEntries[bpf.OffloadFlow](m, bpf.OffloadMapFlows)
	if err != nil {
		return err
	}
	buckets, err := mapEntries[bpf.OffloadBucket](m, bpf.OffloadMapBuckets)
	if err != nil {
		return err
	}
	meta, err := mapEntries[bpf.OffloadMeta](m, bpf.OffloadMapMeta)
	if err != nil {
		return err
	}
	m.flows, m.meta = flows, &meta[0]
	m.index = index{buckets: buckets, flows: flows, seed: m.meta.Seed}
	return nil
}

// mapEntries maps the values of an array into memory.
func mapEntries[T any](m *flowMaps, name string) ([]T, error) {
	array := m.byName[name]
	size := int(array.MaxEntries()) * int(array.ValueSize())
	memory, err := unix.Mmap(array.FD(), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map %s into memory: %w", name, err)
	}
	m.memory = append(m.memory, memory)
	return unsafe.Slice((*T)(unsafe.Pointer(&memory[0])), array.MaxEntries()), nil
}

func (m *flowMaps) close() error {
	var err error
	for _, memory := range m.memory {
		err = errors.Join(err, unix.Munmap(memory))
	}
	m.memory, m.flows, m.index, m.meta = nil, nil, index{}, nil
	for name, opened := range m.byName {
		err = errors.Join(err, opened.Close())
		delete(m.byName, name)
	}
	return err
}

// removePins removes the pins of maps, whatever their names were when they were made; links stay.
func removePins(dir string) error {
	pins, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("list pins: %w", err)
	}
	for _, pin := range pins {
		if strings.HasPrefix(pin.Name(), hookName) {
			continue
		}
		if err := os.Remove(filepath.Join(dir, pin.Name())); err != nil {
			return fmt.Errorf("remove pin: %w", err)
		}
	}
	return nil
}

// loadProgram loads the program over the maps.
func (m *flowMaps) loadProgram() (*ebpf.Program, error) {
	shared, err := offloadSpec()
	if err != nil {
		return nil, err
	}
	spec := shared.Copy()
	replace := make(map[string]*ebpf.Map)
	for name, opened := range m.byName {
		if name == bpf.OffloadMapRoutes {
			delete(spec.Maps, name) // for user space only
			continue
		}
		spec.Maps[name].MaxEntries = opened.MaxEntries()
		replace[name] = opened
	}
	if err := spec.Variables["last_bucket"].Set(uint32(len(m.index.buckets) - 1)); err != nil {
		return nil, fmt.Errorf("set size of index: %w", err)
	}
	coll, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: replace})
	if err != nil {
		return nil, fmt.Errorf("load offload program: %w", err)
	}
	defer coll.Close()
	return coll.DetachProgram(bpf.OffloadProgAnyportOffload), nil
}
