package zone

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"

	"anyport/proxy/dns/wire"
)

// oneTTL gives an RRset the least TTL of its records (RFC 2181 section 5.2). Signatures keep the TTL of what they sign
// (RFC 4034 section 3).
func oneTTL(records []*record) {
	if records[0].kind == wire.TypeRRSIG {
		return
	}
	least := slices.MinFunc(records, func(x, y *record) int { return cmp.Compare(x.ttl, y.ttl) }).ttl
	for _, r := range records {
		r.ttl = least
	}
}

// maxSet is what an RRset may take so that a response over TCP holds it, with the longest question and an OPT record.
const maxSet = wire.MaxMessage - 512

// set writes one RRset behind the zone's bytes, and returns where.
func (p *packer) set(n number, records []*record) (at uint32) {
	if len(records) > math.MaxUint16 {
		p.faults.add(p.src.fault(records[0].at(), "%s has more records of one type than a message can count",
			wire.Text(p.name(n))))
		records = records[:1]
	}
	at = uint32(len(p.z.bytes))
	p.z.bytes = append(p.z.bytes, make([]byte, setHeader)...)
	c := compressor{out: p.z.bytes, start: len(p.z.bytes), owner: p.name(n), pointers: p.z.pointers}
	p.firstTarget = len(p.z.targets)
	for _, r := range records {
		p.record(&c, n, r)
	}
	// Glue first: it is what must not be left out.
	slices.SortStableFunc(p.z.targets[p.firstTarget:], func(x, y Target) int { return x.rank() - y.rank() })
	size := len(c.out) - c.start
	if size > maxSet {
		p.warns = append(p.warns, p.src.fault(records[0].at(), "%s has %d bytes of one type, more than a message holds",
			wire.Text(p.name(n)), size))
	}
	header := c.out[at:]
	binary.NativeEndian.PutUint16(header[setKind:], records[0].kind)
	binary.NativeEndian.PutUint16(header[setCount:], uint16(len(records)))
	binary.NativeEndian.PutUint32(header[setDetail:], p.detail(len(c.pointers)-len(p.z.pointers)))
	binary.NativeEndian.PutUint32(header[setSize:], uint32(size))
	p.z.bytes, p.z.pointers = c.out, c.pointers
	return at
}

// detail notes the pointers and targets of the RRset at work, and returns where.
func (p *packer) detail(pointers int) uint32 {
	targets := len(p.z.targets) - p.firstTarget
	if pointers == 0 && targets == 0 {
		return 0
	}
	p.z.details = append(p.z.details, detail{
		pointer: uint32(len(p.z.pointers)), pointers: uint32(pointers),
		target: uint32(p.firstTarget), targets: uint32(targets),
	})
	return uint32(len(p.z.details) - 1)
}

// record writes one record.
func (p *packer) record(c *compressor, n number, r *record) {
	head := len(c.out)
	c.out = append(c.out, 0xC0, wire.HeaderLen)
	c.out = binary.BigEndian.AppendUint16(c.out, r.kind)
	c.out = binary.BigEndian.AppendUint16(c.out, wire.ClassIN)
	c.out = binary.BigEndian.AppendUint32(c.out, r.ttl)
	c.out = append(c.out, 0, 0)
	data := p.rdata(r)
	l := layoutOf(r.kind)
	if !l.compress {
		at := c.offset() + l.skip
		c.out = append(c.out, data...)
		if l.names > 0 {
			p.target(n, r.kind, data[l.skip:], at)
		}
	} else {
		c.out = append(c.out, data[:l.skip]...)
		data = data[l.skip:]
		for range l.names {
			size := nameLen(data)
			at := c.name(data[:size])
			p.target(n, r.kind, data[:size], at)
			data = data[size:]
		}
		c.out = append(c.out, data...)
	}
	binary.BigEndian.PutUint16(c.out[head+wire.RecordLen:], uint16(len(c.out)-head-2-wire.RecordLen))
}

// negative writes the SOA record once more, with the TTL of a negative answer (RFC 2308 section 3).
func (p *packer) negative() {
	p.each(p.apex, func(r *record) {
		if r.kind != wire.TypeSOA || r.dead {
			return
		}
		data := p.rdata(r)
		minimum := binary.BigEndian.Uint32(data[len(data)-4:])
		p.z.Serial = binary.BigEndian.Uint32(data[len(data)-20:])
		soa := *r
		soa.ttl = min(r.ttl, minimum)
		p.z.negative = p.z.rrset(p.nodes[p.apex], p.set(p.apex, []*record{&soa}))
	})
}
