package ruletest

import (
	"math/rand/v2"
	"net/netip"

	"anyport/conf/rule"
)

// Packet returns a packet that is likely to lie at an edge of some rule of the set: the first or last address of one of
// its prefixes or of its sources, or the address just outside, and the same for ports. Addresses are of one family;
// now and then dst is not served, and its port 0.
func Packet(rng *rand.Rand, set rule.Set) (p rule.Protocol, src netip.Addr, dst netip.AddrPort) {
	var r rule.Rule
	if len(set.Rules) > 0 {
		r = set.Rules[rng.IntN(len(set.Rules))]
	}
	places := r.Prefixes
	if places == nil || rng.IntN(4) == 0 {
		places = nil
		for _, s := range set.Prefixes {
			places = append(places, s.Prefix)
		}
	}
	addr := edge(rng, places[rng.IntN(len(places))])
	p = []rule.Protocol{rule.TCP, rule.UDP}[rng.IntN(2)]
	return p, source(rng, set, r, addr.Is4()), netip.AddrPortFrom(addr, port(rng, r))
}

// source returns a source address of a family, mostly at an edge of the rule's, else of any rule's sources.
func source(rng *rand.Rand, set rule.Set, r rule.Rule, is4 bool) netip.Addr {
	all := netip.MustParsePrefix("::/0")
	if is4 {
		all = netip.MustParsePrefix("0.0.0.0/0")
	}
	for range 4 {
		if len(r.From) > 0 {
			if p := r.From[rng.IntN(len(r.From))]; p.Addr().Is4() == is4 {
				return edge(rng, p)
			}
		}
		if len(set.Rules) > 0 {
			r = set.Rules[rng.IntN(len(set.Rules))]
		}
	}
	return addrIn(rng, all)
}

// port returns a port, mostly at an edge of the rule's.
func port(rng *rand.Rand, r rule.Rule) uint16 {
	if rng.IntN(8) == 0 {
		return uint16(rng.IntN(65536))
	}
	list := portsOf(r)
	ports := list[rng.IntN(len(list))]
	switch rng.IntN(5) {
	case 0:
		return ports.First
	case 1:
		return ports.Last
	case 2:
		return ports.First - 1
	case 3:
		return ports.Last + 1 // 0 after 65535
	}
	return ports.First + uint16(rng.IntN(int(ports.Last-ports.First)+1))
}

// edge returns the first or last address of p, one beside them if there is one, or any inside.
func edge(rng *rand.Rand, p netip.Prefix) netip.Addr {
	first, last := p.Addr(), fill(p, func() byte { return 0xff })
	addr := addrIn(rng, p)
	switch rng.IntN(7) {
	case 0, 1:
		addr = first
	case 2, 3:
		addr = last
	case 4:
		addr = first.Prev()
	case 5:
		addr = last.Next()
	}
	if !addr.IsValid() {
		return first
	}
	return addr
}

// addrIn returns any address of p.
func addrIn(rng *rand.Rand, p netip.Prefix) netip.Addr {
	return fill(p, func() byte { return byte(rng.IntN(256)) })
}

// fill returns the address of p whose host bits are those of the bytes that next returns.
func fill(p netip.Prefix, next func() byte) netip.Addr {
	b := p.Addr().AsSlice()
	for i := range b {
		network := byte(0xff)
		if bits := p.Bits() - 8*i; bits < 8 {
			network = ^byte(0xff >> max(bits, 0))
		}
		b[i] |= next() &^ network
	}
	addr, _ := netip.AddrFromSlice(b)
	return addr
}
