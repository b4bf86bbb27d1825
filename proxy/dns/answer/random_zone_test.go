package answer_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// randomZones makes zones of the things that servers disagree about: wildcards, empty non-terminals, delegations with
// glue inside and outside, aliases and DNAMEs that chain, loop, and lead out. The names come from few labels, so that
// queries hit.
type randomZones struct {
	*rand.Rand
	origins []string
}

func newRandomZones(seed uint64, n int) *randomZones {
	g := &randomZones{Rand: rand.New(rand.NewPCG(seed, seed))}
	for i := range n {
		origin := fmt.Sprintf("z%d.test.", i)
		if i%5 == 4 { // a zone inside the one before
			origin = "a." + g.origins[i-1]
		}
		g.origins = append(g.origins, origin)
	}
	return g
}

func (g *randomZones) label() string {
	return []string{"a", "b", "c", "*", "www", "ns"}[g.IntN(6)]
}

// name returns a name below an origin, or rarely the origin itself.
func (g *randomZones) name(origin string, depth int) string {
	for range g.IntN(depth + 1) {
		origin = g.label() + "." + origin
	}
	return origin
}

// target returns a name for record data: mostly in the zone, else in another one or nowhere.
func (g *randomZones) target(origin string) string {
	switch g.IntN(8) {
	case 0:
		return g.name(g.origins[g.IntN(len(g.origins))], 3)
	case 1:
		return g.name("elsewhere.example.", 2)
	}
	return g.name(origin, 3)
}

// zone returns the text of a zone that every server loads: no CNAME beside other records, nothing below a DNAME, no
// wildcard that delegates or redirects (RFC 4592 section 4 leaves both open). Of a zone inside it, it has the
// delegation alone.
func (g *randomZones) zone(origin string) string {
	z := &zoneText{owned: map[string]map[uint16]bool{}}
	z.add(origin, dns.TypeSOA, "ns1.outside.example. root.outside.example. 3 7200 3600 604800 60")
	for range 1 + g.IntN(2) {
		z.add(origin, dns.TypeNS, g.target(origin))
	}
	child := "a." + origin
	if slices.Contains(g.origins, child) {
		z.add(child, dns.TypeNS, g.target(child))
		z.add(child, dns.TypeDS, "1 13 2 "+strings.Repeat("00", 32))
	} else {
		child = ""
	}
	for range g.IntN(12) {
		owner := g.name(origin, 3)
		if child != "" && dns.IsSubDomain(child, owner) {
			continue
		}
		switch g.IntN(9) {
		case 0, 1:
			z.add(owner, dns.TypeA, fmt.Sprintf("192.0.2.%d", g.IntN(4)))
		case 2:
			z.add(owner, dns.TypeAAAA, fmt.Sprintf("2001:db8::%d", g.IntN(4)))
		case 3:
			z.add(owner, dns.TypeTXT, `"text"`)
		case 4:
			z.add(owner, dns.TypeMX, "10 "+g.target(origin))
		case 5, 6:
			if owner != origin && !strings.HasPrefix(owner, "*") {
				z.add(owner, dns.TypeNS, g.target(origin))
			}
		case 7:
			z.add(owner, dns.TypeCNAME, g.target(origin))
		case 8:
			if !strings.HasPrefix(owner, "*") {
				z.add(owner, dns.TypeDNAME, g.target(origin))
			}
		}
	}
	return z.String()
}

type zoneText struct {
	strings.Builder
	owned map[string]map[uint16]bool
}

// add appends a record unless that would make the zone one that some server refuses.
func (z *zoneText) add(owner string, kind uint16, data string) {
	types := z.owned[owner]
	_, single := map[uint16]bool{dns.TypeCNAME: true, dns.TypeDNAME: true}[kind]
	switch {
	case types[dns.TypeCNAME], kind == dns.TypeCNAME && len(types) > 0, single && types[kind]:
		return
	case kind == dns.TypeDNAME && (types[dns.TypeNS] && !types[dns.TypeSOA] || z.hasBelow(owner)):
		return
	case kind == dns.TypeNS && types[dns.TypeDNAME] && !types[dns.TypeSOA], z.belowDNAME(owner):
		return
	}
	if types == nil {
		types = map[uint16]bool{}
		z.owned[owner] = types
	}
	types[kind] = true
	fmt.Fprintf(z, "%s 500 IN %s %s\n", owner, dns.TypeToString[kind], data)
}

// hasBelow reports whether names below owner have records.
func (z *zoneText) hasBelow(owner string) bool {
	for name := range z.owned {
		if strings.HasSuffix(name, "."+owner) {
			return true
		}
	}
	return false
}

// belowDNAME reports whether owner is below a DNAME.
func (z *zoneText) belowDNAME(owner string) bool {
	for name, types := range z.owned {
		if types[dns.TypeDNAME] && strings.HasSuffix(owner, "."+name) {
			return true
		}
	}
	return false
}
