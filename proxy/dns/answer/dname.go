package answer

import (
	"encoding/binary"

	"anyport/proxy/dns/wire"
	"anyport/proxy/dns/zone"
)

// dname redirects the newest name from below the DNAME at node: it adds the DNAME record, unless an earlier step did,
// and the CNAME record that it stands for (RFC 6672 section 3.1). It reports whether there is an alias to follow.
func (r *Responder) dname(z *zone.Zone, node zone.Node) bool {
	r.res.Outcome = Positive
	next := r.path.next()
	if next == nil {
		return false
	}
	s := z.RRset(node, wire.TypeDNAME)
	data, ok := r.placeDNAME(z, node, &s)
	if !ok {
		r.msg.truncate()
		return false
	}
	name := r.path.name
	target := s.Wire[rdataAt:]
	prefix := name.Len() - s.Owner
	if !next.Join(name.Wire()[:prefix], target) {
		r.fail(wire.YXDomain) // RFC 6672 section 2.2
		return false
	}
	if !r.synthesise(name.Wire()[:prefix], target, data, s.Wire[6:10]) {
		r.msg.truncate()
		return false
	}
	return !r.redirected(target, z.Name(node))
}

// redirected reports whether a response is complete with a synthesised CNAME: because that is what was asked for, or
// because the DNAME's target is at or below its owner, so that it would be applied until the name is too long.
func (r *Responder) redirected(target, owner []byte) bool {
	asked := r.q.Type == wire.TypeCNAME || r.q.Type == wire.TypeANY
	return asked || wire.IsBelow(target, owner)
}

// placeDNAME returns where the data of a DNAME record lies in the message.
func (r *Responder) placeDNAME(z *zone.Zone, node zone.Node, s *zone.RRset) (data int, ok bool) {
	p := &r.path
	if d := p.redirect(z, node); d != nil {
		return d.data, true
	}
	data = r.msg.n + rdataAt
	if !r.place(answers, s, s.Owner) {
		return 0, false
	}
	p.dnames[p.placed] = placed{zone: z, node: node, data: data}
	p.placed++
	return data, true
}

// synthesise adds a CNAME record for the newest name: prefix, then a pointer to the DNAME's target at data. Its TTL is
// the DNAME's (RFC 6672 section 3.1).
func (r *Responder) synthesise(prefix, target []byte, data int, ttl []byte) bool {
	m := &r.msg
	size := len(prefix) + 2
	if !m.room(rdataAt + size) {
		return false
	}
	rr := m.out[m.n : m.n+rdataAt+size]
	wire.PutPointer(rr, r.path.suffix(r.path.name.Len()))
	binary.BigEndian.PutUint16(rr[2:], wire.TypeCNAME)
	binary.BigEndian.PutUint16(rr[4:], wire.ClassIN)
	copy(rr[6:], ttl)
	binary.BigEndian.PutUint16(rr[10:], uint16(size))
	copy(rr[rdataAt:], prefix)
	wire.PutPointer(rr[rdataAt+len(prefix):], data)
	r.path.anchor(anchor{pos: data, size: len(target)})
	r.path.push(anchor{pos: m.n + rdataAt, size: len(prefix) + len(target), shared: len(target)})
	m.n += len(rr)
	m.counts[answers]++
	return true
}
