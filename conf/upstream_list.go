package conf

// maxUpstreams bounds the upstreams of a route: balancing tables are made for that many.
const maxUpstreams = 256

// setUpstreams reads the list of a route's upstreams, each of which stands there once, whatever its options.
func setUpstreams(d *decoder, v value, r *Route) {
	if len(v.items) > maxUpstreams {
		d.report(v, refuse("", "the list has %d upstreams; %d are the limit", len(v.items), maxUpstreams))
		return
	}
	filled(func(r *Route) *[]Upstream { return &r.Upstreams }, parseUpstream, nameUpstream)(d, v, r)
	seen := map[string]Upstream{}
	each(v, parseUpstream, func(item value, u Upstream) {
		if other, again := seen[u.Place()]; again && other != u {
			d.fault(item, "keep one of the two", "%q is listed with other options, too", u.Place())
		}
		seen[u.Place()] = u
	})
}
