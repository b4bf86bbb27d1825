package zone

import "anyport/proxy/dns/wire"

// hide links the nodes: a wildcard to its parent, and every node to the delegation or DNAME that hides it. Below a
// delegation the zone has no authority (RFC 1034 section 4.2.1); below a DNAME nothing may exist (RFC 6672 section
// 2.4), and what a file has there all the same is never answered.
func (b *builder) hide() {
	for i := range b.names {
		n, d := number(i), &b.names[i]
		b.each(n, func(r *record) {
			switch {
			case r.kind == wire.TypeNS && n != b.apex:
				d.flags |= isCut
			case r.kind == wire.TypeDNAME:
				d.flags |= isDNAME
			}
		})
		if name := b.name(n); isWildcard(name) && n != b.apex {
			b.names[b.find(parent(name))].wildcard = n
		}
	}
	b.names[b.apex].placed = true
	for i := range b.names {
		b.above(number(i))
	}
}

// isWildcard reports whether the first label is "*" (RFC 4592 section 2.1.1).
func isWildcard(name []byte) bool { return name[0] == 1 && name[1] == '*' }

// above computes what hides a name: what hides its parent, or else the parent itself if it delegates or redirects.
func (b *builder) above(n number) number {
	d := &b.names[n]
	if d.placed {
		return d.above
	}
	d.placed = true
	p := b.find(parent(b.name(n)))
	d.above = b.above(p)
	if flags := b.names[p].flags; d.above == nobody && flags&(isCut|isDNAME) != 0 {
		d.above = p
		if flags&isCut == 0 {
			b.warnHidden(n, p)
		}
	}
	return d.above
}

// warnHidden tells of records below a DNAME.
func (b *builder) warnHidden(n, dname number) {
	first := b.chains[n].first
	if first == 0 || len(b.warns) == maxFaults {
		return
	}
	b.warns = append(b.warns, b.src.fault(b.records[first-1].at(), "%s is hidden by the DNAME record of %s",
		wire.Text(b.name(n)), wire.Text(b.name(dname))))
}
