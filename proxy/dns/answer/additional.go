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
