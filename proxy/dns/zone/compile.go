package zone

import "anyport/proxy/dns/wire"

// compile returns the zone, or everything that is wrong with it.
func (b *builder) compile() (*Zone, error) {
	if b.apex == nobody {
		b.faults.add(Fault{File: b.src.names[0], Text: "the zone has no SOA record"})
		return nil, b.faults.err()
	}
	if !b.inZone() {
		return nil, b.faults.err()
	}
	b.nonTerminals()
	b.check()
	if err := b.faults.err(); err != nil {
		return nil, err
	}
	b.hide()
	z, err := b.pack()
	if err != nil {
		return nil, err
	}
	z.Warnings = b.warns
	return z, nil
}

// inZone reports whether every record is the apex's or below it.
func (b *builder) inZone() bool {
	apex := b.name(b.apex)
	for i := range b.chains {
		if name := b.name(number(i)); !wire.IsBelow(name, apex) {
			r := &b.records[b.chains[i].first-1]
			b.faults.add(b.src.fault(r.at(), "%s is not in the zone %s", wire.Text(name), wire.Text(apex)))
		}
	}
	return len(b.faults.list) == 0
}

// parent returns a name without its first label.
func parent(name []byte) []byte { return name[1+name[0]:] }

// nonTerminals adds the names between the apex and its descendants that own nothing (RFC 4592 section 2.2.2).
func (b *builder) nonTerminals() {
	owners := len(b.names)
	for i := range owners {
		for name := b.name(number(i)); number(i) != b.apex; {
			name = parent(name)
			before := len(b.names)
			b.number(name)
			if len(b.names) == before {
				break
			}
		}
	}
}
