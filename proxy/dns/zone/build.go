package zone

import (
	"encoding/binary"
	"math"

	"anyport/proxy/dns/wire"
)

// builder collects the records of a zone in the order of its files and compiles them. It keeps them in wire format in
// flat slices, since a zone may have millions.
type builder struct {
	index
	src     *sources
	chains  []chain // by number
	records []record
	data    []byte // the records' data, uncompressed
	apex    number // owner of the SOA record; nobody until it was seen
	faults  faults
	warns   []Fault
}

// chain is the records of a name as they came: a linked list through builder.records.
type chain struct {
	first, last int32 // index into records plus one; 0: none
	count       int32
}

// record is one record as it was read.
type record struct {
	data uint32 // offset in builder.data
	ttl  uint32
	next int32 // index plus one of the next record of its name
	line uint32
	file uint16
	size uint16 // of the data
	kind uint16 // type
	dead bool   // a duplicate
}

func (r *record) at() position { return position{file: r.file, line: r.line} }

// newBuilder returns a builder for a file of size bytes. What it reserves is little of a small file, and of a large one
// memory that is not touched before it is used; without it, growing slices would copy a large zone over and over.
func newBuilder(src *sources, size int64) *builder {
	const perRecord = 32 // bytes of a usual line
	n := int(min(max(size, 0), math.MaxInt32)) / perRecord
	b := &builder{index: newIndex(), src: src, apex: nobody}
	b.chains, b.records, b.names = make([]chain, 0, n), make([]record, 0, n), make([]draft, 0, n)
	b.data, b.bytes = make([]byte, 0, n*perRecord/2), make([]byte, 0, n*perRecord/2)
	return b
}

// maxTTL is the longest time to live (RFC 2181 section 8).
const maxTTL = math.MaxInt32

// add takes one record in uncompressed wire format, owner first.
func (b *builder) add(rr []byte, at position) {
	var owner wire.Name
	end, ok := owner.Parse(rr, 0)
	if !ok || end+wire.RecordLen > len(rr) {
		b.faults.add(b.src.fault(at, "the record has no wire format"))
		return
	}
	r := record{
		data: uint32(len(b.data)),
		ttl:  binary.BigEndian.Uint32(rr[end+4:]),
		line: at.line, file: at.file,
		size: binary.BigEndian.Uint16(rr[end+8:]),
		kind: binary.BigEndian.Uint16(rr[end:]),
	}
	if !b.accept(&r, binary.BigEndian.Uint16(rr[end+2:])) {
		return
	}
	n := b.number(owner.Wire())
	if r.kind == wire.TypeSOA {
		b.setApex(n, &r)
	}
	b.data = append(b.data, rr[end+wire.RecordLen:]...)
	b.records = append(b.records, r)
	b.chains[n].push(b.records)
}

// accept reports whether a record may be in a zone at all, whatever else is.
func (b *builder) accept(r *record, class uint16) bool {
	switch {
	case class != wire.ClassIN:
		b.faults.add(b.src.fault(r.at(), "class %d: only IN is served", class))
	case r.ttl > maxTTL:
		b.faults.add(b.src.fault(r.at(), "TTL %d is above %d (RFC 2181 section 8)", r.ttl, uint32(maxTTL)))
	case len(b.data)+int(r.size) > math.MaxInt32 || len(b.bytes) > math.MaxInt32-wire.MaxName:
		b.faults.add(b.src.fault(r.at(), "the zone is larger than 2 GiB"))
	default:
		return true
	}
	return false
}

// number returns the number of a name, with an empty chain if it is new.
func (b *builder) number(name []byte) number {
	n := b.index.add(name)
	if int(n) == len(b.chains) {
		b.chains = append(b.chains, chain{})
	}
	return n
}

func (b *builder) setApex(n number, r *record) {
	if b.apex != nobody && b.apex != n {
		b.faults.add(b.src.fault(r.at(), "a second SOA record, at %s; the zone is %s",
			wire.Text(b.name(n)), wire.Text(b.name(b.apex))))
		return
	}
	b.apex = n
}

// push appends the newest record to the chain.
func (c *chain) push(records []record) {
	newest := int32(len(records))
	if c.last == 0 {
		c.first = newest
	} else {
		records[c.last-1].next = newest
	}
	c.last = newest
	c.count++
}

// each calls f for every record of a name, in file order.
func (b *builder) each(n number, f func(r *record)) {
	for i := b.chains[n].first; i != 0; i = b.records[i-1].next {
		f(&b.records[i-1])
	}
}

// rdata returns a record's data.
func (b *builder) rdata(r *record) []byte {
	return b.data[r.data : r.data+uint32(r.size)]
}
