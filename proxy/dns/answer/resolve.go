package answer

import (
	"anyport/proxy/dns/wire"
	"anyport/proxy/dns/zone"
)

// resolve answers from the zones: RFC 1034 section 4.3.2, with the amendments of RFC 4592 and RFC 6672. Each turn is
// one name of the path. A chain that leaves the zones ends there, and the resolver goes on elsewhere.
func (r *Responder) resolve() {
	z := r.req.Zones.Find(r.path.name, r.q.Type)
	if z == nil {
		r.fail(wire.Refused)
		return
	}
	r.msg.flags |= wire.AA
	for z != nil && r.step(z) {
		z = r.req.Zones.Find(r.path.name, r.q.Type)
	}
}

// step looks the newest name up in its zone and reports whether that was an alias, now followed.
func (r *Responder) step(z *zone.Zone) bool {
	m := z.Find(r.path.name, r.q.Type)
	switch m.Kind {
	case zone.Referral:
		r.referral(z, m.Node)
	case zone.Missing:
		r.negative(z, wire.NXDomain)
	case zone.Redirect:
		return r.dname(z, m.Node)
	default:
		return r.data(z, m)
	}
	return false
}

// data answers from a name that exists, or from the wildcard that speaks for it.
func (r *Responder) data(z *zone.Zone, m zone.Match) bool {
	if m.Kind == zone.Wildcard {
		r.res.Name = z.Name(m.Node)
	}
	var s zone.RRset
	if r.q.Type == wire.TypeANY {
		s = z.Any(m.Node)
	} else {
		s = z.RRset(m.Node, r.q.Type)
	}
	if s.Count > 0 {
		r.positive(z, m.Node, &s)
		return false
	}
	if s = z.RRset(m.Node, wire.TypeCNAME); s.Count > 0 {
		return r.cname(&s)
	}
	r.negative(z, wire.NoError)
	return false
}

// positive answers with an RRset of the newest name, the zone's name servers, and addresses that go along.
func (r *Responder) positive(z *zone.Zone, node zone.Node, s *zone.RRset) {
	r.res.Outcome = Positive
	start := r.msg.n
	there := s.Type == wire.TypeDNAME && r.path.redirect(z, node) != nil // on the way to its own owner
	if !there && !r.place(answers, s, r.path.name.Len()) {
		r.msg.truncate()
		return
	}
	if r.q.Type == wire.TypeANY { // whoever asks for that gets no more than must be (RFC 8482 section 4)
		return
	}
	// Without the name servers the answer is as good: they are left out rather than truncated, and where a pointer in
	// them could not reach.
	ns, at := z.Authority(), r.msg.n
	withServers := ns.Count > 0 && !ns.Same(s) && at+len(ns.Wire) <= wire.MaxPointer && r.place(authority, &ns, ns.Owner)
	r.addresses(z, s, start)
	if withServers {
		r.serverAddresses(z, &ns, at, node, s, start)
	}
}
