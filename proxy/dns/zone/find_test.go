package zone

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"anyport/proxy/dns/wire"
)

// naive is a zone as RFC 1034 section 4.3.2 walks it: label by label, from the apex down.
type naive struct {
	apex  string
	types map[string]map[uint16]bool // by name; empty for an empty non-terminal
}

func (z *naive) add(name string, kind uint16) {
	for ; name != z.apex; name = name[strings.IndexByte(name, '.')+1:] {
		if z.types[name] == nil {
			z.types[name] = map[uint16]bool{}
		}
		if kind != 0 {
			z.types[name][kind] = true
		}
		kind = 0
	}
}

// find returns how a name relates to the zone, and the name that decides it.
func (z *naive) find(name string, qtype uint16) (Kind, string) {
	labels := strings.Split(strings.TrimSuffix(name, "."+z.apex), ".")
	at := z.apex
	if name == z.apex {
		return Exact, at
	}
	for i := len(labels) - 1; i >= 0; i-- {
		next := labels[i] + "." + at
		types, exists := z.types[next]
		if !exists {
			if _, ok := z.types["*."+at]; ok {
				return Wildcard, "*." + at
			}
			return Missing, at
		}
		at = next
		if types[dns.TypeNS] && !(i == 0 && qtype == dns.TypeDS) {
			return Referral, at
		}
		if types[dns.TypeDNAME] && i > 0 {
			return Redirect, at
		}
	}
	return Exact, at
}

// The compiled zone finds what a walk from the apex down finds.
func TestFindAgainstOracle(t *testing.T) {
	const zones, names, queries = 200, 12, 200
	seed := uint64(4592)
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, seed))
	kinds := []uint16{dns.TypeA, dns.TypeA, dns.TypeNS, dns.TypeDNAME, dns.TypeTXT}
	data := map[uint16]string{
		dns.TypeA: "192.0.2.1", dns.TypeNS: "ns.other.test.", dns.TypeDNAME: "other.test.", dns.TypeTXT: "x",
	}
	random := func() string {
		name := "example.test."
		for range 1 + rng.IntN(4) {
			name = []string{"a", "b", "*", "c"}[rng.IntN(4)] + "." + name
		}
		return name
	}
	for range zones {
		oracle := &naive{apex: "example.test.", types: map[string]map[uint16]bool{}}
		var text strings.Builder
		text.WriteString(soa)
		for range names {
			name, kind := random(), kinds[rng.IntN(len(kinds))]
			oracle.add(name, kind)
			fmt.Fprintf(&text, "%s 300 %s %s\n", name, dns.TypeToString[kind], data[kind])
		}
		z := loadText(t, text.String())
		for range queries {
			name, qtype := random(), []uint16{dns.TypeA, dns.TypeDS}[rng.IntN(2)]
			kind, by := oracle.find(name, qtype)
			m := z.Find(parseName(t, name), qtype)
			if m.Kind != kind || wire.Text(z.Name(m.Node)) != by {
				t.Fatalf("%s type %d: %v by %s, want %v by %s\n%s",
					name, qtype, m.Kind, wire.Text(z.Name(m.Node)), kind, by, &text)
			}
		}
	}
}

// A look-up among zones finds the longest apex, but for DS that of the parent.
func TestFindZone(t *testing.T) {
	var list []*Zone
	for _, apex := range []string{"test.", "example.test.", "deep.down.example.test.", "other."} {
		list = append(list, loadText(t, "$ORIGIN "+apex+"\n"+soa))
	}
	zones := NewZones(list)
	for _, c := range []struct {
		name string
		kind uint16
		want string
	}{
		{"test.", dns.TypeA, "test."}, {"a.test.", dns.TypeA, "test."}, {"example.test.", dns.TypeA, "example.test."},
		{"x.example.test.", dns.TypeA, "example.test."}, {"down.example.test.", dns.TypeA, "example.test."},
		{"a.b.c.deep.down.example.test.", dns.TypeA, "deep.down.example.test."},
		{"example.test.", dns.TypeDS, "test."}, {"x.example.test.", dns.TypeDS, "example.test."},
		{"deep.down.example.test.", dns.TypeDS, "example.test."}, {"other.", dns.TypeDS, "other."},
		{".", dns.TypeA, ""}, {".", dns.TypeDS, ""}, {"nowhere.", dns.TypeA, ""}, {"estxample.test.x.", dns.TypeA, ""},
	} {
		got := ""
		if z := zones.Find(parseName(t, c.name), c.kind); z != nil {
			got = z.Apex().String()
		}
		if got != c.want {
			t.Errorf("%s %s: %q, want %q", c.name, dns.TypeToString[c.kind], got, c.want)
		}
	}
	if new(Zones).Find(parseName(t, "test."), dns.TypeA) != nil {
		t.Error("no zones, but one found")
	}
}

// The index finds every name it was given, and no other, at any size.
func TestIndex(t *testing.T) {
	x := newIndex()
	const n = 5000
	name := func(i int) []byte { return parseName(t, fmt.Sprintf("n%d.example.", i)).Wire() }
	for i := range n {
		if got := x.add(name(i)); got != number(i) {
			t.Fatalf("name %d became %d", i, got)
		}
		x.add(name(i / 2))
	}
	for i := range 2 * n {
		want := number(i)
		if i >= n {
			want = nobody
		}
		if got := x.find(name(i)); got != want {
			t.Fatalf("name %d: number %d", i, got)
		}
	}
}
