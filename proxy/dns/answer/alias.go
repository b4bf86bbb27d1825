package answer

import (
	"anyport/proxy/dns/zone"
)

// cname adds the CNAME record of the newest name and reports whether there is an alias to follow.
func (r *Responder) cname(s *zone.RRset) bool {
	r.res.Outcome = Positive
	next := r.path.next()
	if next == nil {
		return false
	}
	data := r.msg.n + rdataAt
	if !r.place(answers, s, r.path.name.Len()) {
		r.msg.truncate()
		return false
	}
	local, ok := next.Follow(r.msg.out[:r.msg.n], data)
	if !ok {
		return false
	}
	r.path.push(anchor{pos: data, size: next.Len(), shared: next.Len() - local})
	return true
}
