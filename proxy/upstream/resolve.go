package upstream

import (
	"net/netip"
	"slices"

	"anyport/conf"
)

// MaxEndpoints bounds a group: addresses beyond it, in the order of Endpoints, are left out.
const MaxEndpoints = 256

// Endpoints returns what each group's upstreams lead to, for [Group.Use], as far as the names among them have ever
// resolved. Order: as the upstreams were written, and the addresses of one name sorted, so that every node of an anycast
// set sees one order.
func (n *Names) Endpoints(groups []*Group) [][]Endpoint {
	sources := make(routedSources)
	fresh := make([][]Endpoint, len(groups))
	for i, g := range groups {
		fresh[i] = g.resolve(n, sources)
	}
	return fresh
}

// NamesOf returns the DNS names among the groups' upstreams, each once.
func NamesOf(groups []*Group) []string {
	var names []string
	for _, g := range groups {
		for _, s := range g.specs {
			if s.Name != "" {
				names = append(names, s.Name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (g *Group) resolve(names *Names, sources routedSources) []Endpoint {
	var list []Endpoint
	seen := make(map[endpointKey]bool) // what two names have in common counts as the first one's
	add := func(s conf.Upstream, addrs ...netip.Addr) {
		for _, a := range addrs {
			e := Endpoint{Addr: a, Source: sources.of(a), spec: s}
			if !seen[e.key()] {
				seen[e.key()] = true
				list = append(list, e)
			}
		}
	}
	for _, s := range g.specs {
		if s.Addr.IsValid() {
			add(s, s.Addr)
		} else {
			add(s, names.lastGood(s.Name)...)
		}
	}
	return list[:min(len(list), MaxEndpoints)]
}
