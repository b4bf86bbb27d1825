package zone

import (
	"encoding/binary"

	"anyport/proxy/dns/wire"
)

// RRset is the records of one type at one name, in wire format. The zero value is none.
//
// Its compression pointers hold offsets in a message in which the RRset stands right behind a question for its own
// name: below [RRset.Start] they lead into that name, from there on into the RRset itself. The owner of every record
// is such a pointer, to the name's beginning.
type RRset struct {
	Type  uint16
	Count int    // records; 0 for the zero value
	Wire  []byte // not to be changed
	Owner int    // length of the owner's name in wire format
	zone  *Zone
	d     uint32
}

// Start returns the offset, in the coordinates of the pointers, at which the RRset begins.
func (s *RRset) Start() int { return wire.HeaderLen + s.Owner + 4 }

// Same reports whether two RRsets are one, of one zone.
func (s *RRset) Same(t *RRset) bool { return &s.Wire[0] == &t.Wire[0] }

// Pointers returns where the record data has compression pointers, as offsets into Wire.
func (s *RRset) Pointers() []uint16 {
	d := &s.zone.details[s.d]
	return s.zone.pointers[d.pointer : d.pointer+d.pointers]
}

// Targets returns the names whose addresses belong into the additional section.
func (s *RRset) Targets() []Target {
	d := &s.zone.details[s.d]
	return s.zone.targets[d.target : d.target+d.targets]
}

// In a table's bytes, an RRset is a header and its wire format.
const (
	setKind   = 0 // 16 bits: type
	setCount  = 2 // 16 bits: records
	setDetail = 4 // 32 bits: index into Zone.details
	setSize   = 8 // 32 bits: length of the wire format
	setHeader = 12
)

// RRset returns the records of type t at node n, or the zero RRset if there are none.
func (z *Zone) RRset(n Node, t uint16) RRset {
	at, count := z.sets(n)
	for range count {
		if binary.NativeEndian.Uint16(z.bytes[at:]) == t {
			return z.rrset(n, at)
		}
		at += setHeader + binary.NativeEndian.Uint32(z.bytes[at+setSize:])
	}
	return RRset{}
}

// Any returns one RRset at node n, or the zero RRset at an empty non-terminal: the answer to a query for ANY that RFC
// 8482 section 4.1 describes. It prefers data to signatures.
func (z *Zone) Any(n Node) RRset {
	at, count := z.sets(n)
	var any RRset
	for range count {
		s := z.rrset(n, at)
		if s.Type != wire.TypeRRSIG && s.Type != wire.TypeNSEC {
			return s
		}
		if any.Count == 0 {
			any = s
		}
		at += setHeader + uint32(len(s.Wire))
	}
	return any
}

// rrset returns the RRset of node n at an offset in the table's bytes.
func (z *Zone) rrset(n Node, at uint32) RRset {
	b := z.bytes[at:]
	end := setHeader + binary.NativeEndian.Uint32(b[setSize:])
	return RRset{
		Type: binary.NativeEndian.Uint16(b), Count: int(binary.NativeEndian.Uint16(b[setCount:])),
		Wire: b[setHeader:end:end], Owner: int(z.bytes[n+nodeSize]),
		zone: z, d: binary.NativeEndian.Uint32(b[setDetail:]),
	}
}
