package zone

import (
	"slices"

	"anyport/proxy/dns/wire"
)

// target notes that the addresses of a name in the data of a record at n go along with it in a response, if the zone
// has them (RFC 1034 section 4.3.2 step 6). at is where the name can be read, 0 if nowhere.
func (p *packer) target(n number, kind uint16, name []byte, at int) {
	if at == 0 || at > wire.MaxPointer {
		return
	}
	var glueAllowed bool
	switch kind {
	case wire.TypeNS:
		glueAllowed = true
	case wire.TypeMX, wire.TypeSRV:
	default:
		return
	}
	var target wire.Name
	target.Set(name)
	owner := p.addresses(target.Wire(), glueAllowed)
	if owner == nobody {
		return
	}
	glue := p.names[n].flags&isCut != 0 && wire.IsBelow(target.Wire(), p.name(n))
	t := Target{Node: Node(owner), Offset: uint16(at), Glue: glue}
	again := func(u Target) bool {
		return u.Node == t.Node && (u.Offset == t.Offset || !isWildcard(p.name(owner)))
	}
	if !slices.ContainsFunc(p.z.targets[p.firstTarget:], again) {
		p.z.targets = append(p.z.targets, t)
	}
}

// addresses returns the owner of a name's addresses, the name itself or the wildcard that covers it, or nobody.
// Addresses that the zone has no authority for, those below a delegation, count only where glue is allowed.
func (p *packer) addresses(name []byte, glueAllowed bool) number {
	if !wire.IsBelow(name, p.name(p.apex)) {
		return nobody
	}
	n := p.find(name)
	exact := n != nobody
	for n == nobody {
		name = parent(name)
		n = p.find(name)
	}
	d := &p.names[n]
	if !glueAllowed && (d.above != nobody || d.flags&isCut != 0) {
		return nobody
	}
	if !exact {
		if n = d.wildcard; n == nobody || d.flags&isDNAME != 0 {
			return nobody
		}
	}
	return p.withAddress(n)
}

// withAddress returns n if it owns addresses, or nobody.
func (p *packer) withAddress(n number) number {
	found := nobody
	p.each(n, func(r *record) {
		if r.kind == wire.TypeA || r.kind == wire.TypeAAAA {
			found = n
		}
	})
	return found
}

// rank is a target's place among others: glue comes first, because it must not be left out for want of room.
func (t *Target) rank() int {
	if t.Glue {
		return 0
	}
	return 1
}
