package answer

import (
	"anyport/proxy/dns/wire"
	"anyport/proxy/dns/zone"
)

// referral sends the client to the name servers of a delegation, with their addresses. The response is authoritative
// only if it is so for the name asked for, that is, if an alias led here (RFC 1034 section 4.3.2 step 3b).
func (r *Responder) referral(z *zone.Zone, cut zone.Node) {
	if r.path.direct() {
		r.msg.flags &^= wire.AA
		r.res.Outcome = Delegated
		r.res.Name = z.Name(cut)
	}
	s := z.RRset(cut, wire.TypeNS)
	start := r.msg.n
	if !r.place(authority, &s, s.Owner) {
		r.msg.truncate()
		return
	}
	r.addresses(z, &s, start)
}
