package answer

import "anyport/proxy/dns/wire"

// limit returns how long the response may be, what its OPT record needs included.
func (r *Responder) limit() int {
	switch {
	case r.req.TCP:
		return wire.MaxMessage
	case !r.q.EDNS.Present:
		return wire.MinUDP
	}
	return int(min(max(r.q.EDNS.Size, wire.MinUDP), r.cfg.UDPSize))
}

// edns prepares the OPT record of the response, if the query has one, and reports whether the query is to be answered.
func (r *Responder) edns() bool {
	e := &r.q.EDNS
	if !e.Present {
		return true
	}
	r.withOPT = true
	r.opt.Size, r.opt.DO = r.cfg.UDPSize, e.DO
	if e.NSID {
		r.opt.NSID = r.cfg.NSID
	}
	if e.Cookie != nil && r.cfg.Cookies != nil {
		r.opt.Cookie = r.cookie[:]
		if r.cfg.Cookies.Answer(&r.cookie, e.Cookie, r.req.Client, r.req.Now) {
			r.res.Trusted = true
		}
	}
	if r.msg.n+r.opt.Len() > r.msg.limit { // a long identifier behind a long name
		r.opt.NSID = nil
	}
	r.msg.limit -= r.opt.Len()
	if e.Version != wire.EDNSVersion {
		r.fail(wire.BadVers)
		return false
	}
	return true
}
