package ruletest

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"

	"anyport/conf/rule"
)

// maxRules is the most rules of a random set. With the few prefixes, ranges and sources that a set draws on, most
// packets then match several.
const maxRules = 30

// Services is how many services the rules of a random set steer to: 0 to Services-1.
const Services = 3

// Random returns a valid set without ties: IPv4 and IPv6, nested served prefixes, nested and prefix-less rules, ranges
// that overlap, touch or were split by exclusions, rules for one and for both protocols, nested sources, every verdict.
func Random(rng *rand.Rand) rule.Set {
	g := newGenerator(rng)
	set := rule.Set{Prefixes: g.served}
	for range 1 + rng.IntN(maxRules) {
		r := g.rule(len(set.Rules))
		if !slices.ContainsFunc(set.Rules, func(other rule.Rule) bool { return Tied(r, other) }) {
			set.Rules = append(set.Rules, r)
		}
	}
	return set
}

// RandomTies is Random without the care for ties; few of its sets have none.
func RandomTies(rng *rand.Rand) rule.Set {
	g := newGenerator(rng)
	set := rule.Set{Prefixes: g.served}
	for i := range 1 + rng.IntN(maxRules) {
		set.Rules = append(set.Rules, g.rule(i))
	}
	return set
}

// generator draws rules from small pools, so that they meet.
type generator struct {
	rng      *rand.Rand
	served   []rule.Prefix
	prefixes []netip.Prefix // inside the served ones
	sources  []netip.Prefix
	ports    []uint16 // where ranges begin or end
}

var servedPool = []string{
	"198.18.0.0/20", "198.18.4.0/22", "198.18.4.128/25", "203.0.113.0/24", "192.0.2.8/29", "192.0.2.8/32",
	"2001:db8::/48", "2001:db8:0:4000::/52", "2001:db8:0:4000::/64", "2001:db8:ffff::/64", "2001:db8:ffff::8/128",
}

var sourcePool = []string{
	"0.0.0.0/0", "0.0.0.0/1", "10.0.0.0/8", "10.1.0.0/16", "10.1.128.0/17", "10.1.128.7/32", "10.2.0.0/16",
	"192.168.0.0/16",
	"::/0", "2000::/3", "2001:db8:a::/48", "2001:db8:a:b::/64", "2001:db8:a:b::7/128", "2001:db8:a:c::/64", "fd00::/8",
}

var portPool = []uint16{1, 2, 22, 25, 53, 80, 443, 1024, 8080, 32767, 32768, 65534, 65535}

func newGenerator(rng *rand.Rand) *generator {
	g := &generator{rng: rng}
	for _, s := range servedPool {
		if rng.IntN(2) == 0 {
			g.served = append(g.served, rule.Prefix{Prefix: netip.MustParsePrefix(s), Open: rng.IntN(2) == 0})
		}
	}
	if len(g.served) == 0 {
		g.served = []rule.Prefix{{Prefix: netip.MustParsePrefix(servedPool[rng.IntN(len(servedPool))])}}
	}
	for range 2 + rng.IntN(6) {
		p := g.served[rng.IntN(len(g.served))].Prefix
		if n := len(g.prefixes); n > 0 && rng.IntN(2) == 0 {
			p = g.prefixes[rng.IntN(n)] // nest
		}
		g.prefixes = append(g.prefixes, g.inside(p))
	}
	for range 1 + rng.IntN(6) {
		g.sources = append(g.sources, netip.MustParsePrefix(sourcePool[rng.IntN(len(sourcePool))]))
	}
	for range 2 + rng.IntN(4) {
		g.ports = append(g.ports, portPool[rng.IntN(len(portPool))])
	}
	g.ports = append(g.ports, uint16(1+rng.IntN(65535)))
	return g
}

// inside returns a prefix inside p, at times p itself.
func (g *generator) inside(p netip.Prefix) netip.Prefix {
	bits := p.Bits() + g.rng.IntN(1+min(6, p.Addr().BitLen()-p.Bits()))
	if g.rng.IntN(8) == 0 {
		bits = p.Addr().BitLen()
	}
	return netip.PrefixFrom(addrIn(g.rng, p), bits).Masked()
}

// rule returns a rule that by itself is valid.
func (g *generator) rule(i int) rule.Rule {
	r := rule.Rule{
		Name:     fmt.Sprintf("r%d", i),
		Protocol: []rule.Protocol{rule.Both, rule.TCP, rule.UDP}[g.rng.IntN(3)],
		Verdict:  rule.Verdict(g.rng.IntN(3)),
		Fallback: rule.NoService,
	}
	if g.rng.IntN(4) > 0 {
		r.Prefixes = g.pick(g.prefixes)
	}
	if g.rng.IntN(4) > 0 {
		r.Ports = g.ranges()
	}
	if g.rng.IntN(2) > 0 {
		r.From = g.pick(g.sources)
	}
	if r.Verdict == rule.Steer {
		r.Service = uint16(g.rng.IntN(Services))
		if g.rng.IntN(4) == 0 {
			r.Fallback = uint16(g.rng.IntN(Services))
		}
	}
	return r
}

// pick returns one to three of a pool, at times one of them twice.
func (g *generator) pick(pool []netip.Prefix) []netip.Prefix {
	var list []netip.Prefix
	for range 1 + g.rng.IntN(3) {
		list = append(list, pool[g.rng.IntN(len(pool))])
	}
	return list
}
