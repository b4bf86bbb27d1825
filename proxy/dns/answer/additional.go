package answer

import (
	"anyport/proxy/dns/wire"
	"anyport/proxy/dns/zone"
)

// addresses adds the addresses of the names in an RRset that stands at start (RFC 1034 section 4.3.2 step 6). One that
// does not fit is left out; if that is glue, without which the referral leads nowhere, the client is told to ask by
// TCP (RFC 9471 section 3.1).
func (r *Responder) addresses(z *zone.Zone, s *zone.RRset, start int) {
	for _, t := range s.Targets() {
		owner := r.moved(s, start, int(t.Offset))
		v4 := z.RRset(t.Node, wire.TypeA)
		v6 := z.RRset(t.Node, wire.TypeAAAA)
		fits := r.address(&v4, owner) && r.address(&v6, owner)
		if !fits && t.Glue {
			r.msg.flags |= wire.TC
		}
	}
}

// serverAddresses adds the addresses of the zone's name servers, which stand at nsAt, behind the answer s of a node,
// which stands at sAt. What that has brought already is left out, and so is what does not fit: the answer is complete
// without.
func (r *Responder) serverAddresses(z *zone.Zone, ns *zone.RRset, nsAt int, node zone.Node, s *zone.RRset, sAt int) {
	for _, t := range ns.Targets() {
		owner := r.moved(ns, nsAt, int(t.Offset))
		if r.hasTarget(s, sAt, t.Node, owner) {
			continue
		}
		asked := t.Node == node && r.sameName(owner, r.path.suffix(r.path.name.Len()))
		for _, kind := range [...]uint16{wire.TypeA, wire.TypeAAAA} {
			if asked && kind == s.Type {
				continue
			}
			a := z.RRset(t.Node, kind)
			r.address(&a, owner)
		}
	}
}

// hasTarget reports whether an RRset that stands at start has a target: a node, owner of the name at an offset.
func (r *Responder) hasTarget(s *zone.RRset, start int, n zone.Node, owner int) bool {
	for _, t := range s.Targets() {
		if t.Node == n && r.sameName(owner, r.moved(s, start, int(t.Offset))) {
			return true
		}
	}
	return false
}

// sameName reports whether the names at two offsets are the same. Those of one node are, unless it is a wildcard.
func (r *Responder) sameName(x, y int) bool {
	var nx, ny wire.Name
	_, okx := nx.Follow(r.msg.out[:r.msg.n], x)
	_, oky := ny.Follow(r.msg.out[:r.msg.n], y)
	return okx && oky && nx.Equal(&ny)
}

// address adds the records of one type, owned by the name at an offset, and reports whether they fit.
func (r *Responder) address(s *zone.RRset, owner int) bool {
	m := &r.msg
	if !m.room(len(s.Wire)) {
		return false
	}
	at := m.n
	m.n += copy(m.out[at:], s.Wire)
	setOwners(m.out[at:m.n], s.Count, owner)
	m.counts[additional] += uint16(s.Count)
	return true
}
