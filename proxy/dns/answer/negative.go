package answer

import (
	"anyport/proxy/dns/wire"
	"anyport/proxy/dns/zone"
)

// negative says that the newest name does not exist (wire.NXDomain), or not with the type asked for (wire.NoError),
// and for how long that may be believed, by the zone's SOA record (RFC 2308 section 3). Behind an alias the code is
// that of the alias's target (RFC 2308 section 2.1).
func (r *Responder) negative(z *zone.Zone, code wire.Rcode) {
	r.msg.rcode = code
	r.res.Outcome = NoData
	if code == wire.NXDomain {
		r.res.Outcome = NoName
		r.res.Name = z.Apex().Wire()
	}
	soa := z.Negative()
	if !r.place(authority, &soa, soa.Owner) {
		r.msg.truncate()
	}
}
