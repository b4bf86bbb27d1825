package rule

import (
	"cmp"
	"net/netip"
	"slices"
)

// Match is how a rule matches a packet: what the precedence compares.
type Match struct {
	Prefix   netip.Prefix // the longest of the rule's that contains the destination; the zero Prefix: the rule has none
	Ports    PortRange    // the rule's range that contains the port
	Protocol Protocol     // the rule's
	Source   netip.Prefix // the longest of the rule's that contains the source; the zero Prefix: it does not admit it
}

// Admits reports whether the rule admits the source.
func (m Match) Admits() bool { return m.Source.IsValid() }

// match returns how the rule matches a packet, and false if prefix, port or protocol do not. Both as p stands for any
// protocol.
func (r *Rule) match(p Protocol, src netip.Addr, dst netip.AddrPort) (m Match, ok bool) {
	if !r.covers(p) {
		return Match{}, false
	}
	m.Protocol = r.Protocol
	m.Prefix = longest(r.Prefixes, dst.Addr())
	if r.Prefixes != nil && !m.Prefix.IsValid() {
		return Match{}, false
	}
	for _, ports := range r.ports() {
		if ports.Contains(dst.Port()) {
			m.Ports = ports
		}
	}
	m.Source = r.source(src, everySource(dst.Addr()))
	return m, m.Ports != PortRange{}
}

// source returns the longest of the rule's source prefixes that contains src, or the zero Prefix. A src that is not of
// all's family needs a rule that admits all.
func (r *Rule) source(src netip.Addr, all netip.Prefix) netip.Prefix {
	switch {
	case r.From == nil:
		return all
	case src.BitLen() == all.Addr().BitLen():
		return longest(r.From, src)
	case slices.Contains(r.From, all):
		return all
	}
	return netip.Prefix{}
}

// everySource returns 0.0.0.0/0 or ::/0, whichever is of addr's family.
func everySource(addr netip.Addr) netip.Prefix {
	if addr.Is4() {
		return families[0]
	}
	return families[1]
}

// longest returns the longest of some prefixes that contains addr, or the zero Prefix.
func longest(prefixes []netip.Prefix, addr netip.Addr) netip.Prefix {
	var best netip.Prefix
	for _, p := range prefixes {
		if p.Contains(addr) && (!best.IsValid() || p.Bits() > best.Bits()) {
			best = p
		}
	}
	return best
}

// compare orders matches of one packet by precedence, best first. A match that does not admit the source comes last of
// those it equals otherwise.
func (m Match) compare(n Match) int {
	return cmp.Or(
		cmp.Compare(n.Prefix.Bits(), m.Prefix.Bits()), // -1 for the zero Prefix
		cmp.Compare(rank(m.Ports, m.Protocol), rank(n.Ports, n.Protocol)),
		cmp.Compare(n.Source.Bits(), m.Source.Bits()),
	)
}
