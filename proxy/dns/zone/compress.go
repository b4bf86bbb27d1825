package zone

import "anyport/proxy/dns/wire"

// layout says where a type's record data has domain names.
type layout struct {
	skip     int  // bytes before the first
	names    int  // how many, one behind the other
	compress bool // only those of RFC 1035 may be (RFC 3597 section 4)
}

func layoutOf(kind uint16) layout {
	switch kind {
	case wire.TypeNS, wire.TypeCNAME, wire.TypePTR,
		wire.TypeMD, wire.TypeMF, wire.TypeMB, wire.TypeMG, wire.TypeMR:
		return layout{names: 1, compress: true}
	case wire.TypeSOA, wire.TypeMINFO:
		return layout{names: 2, compress: true}
	case wire.TypeMX:
		return layout{skip: 2, names: 1, compress: true}
	case wire.TypeSRV:
		return layout{skip: 6, names: 1} // RFC 2782: not to be compressed
	}
	return layout{}
}

// nameLen returns the length of the uncompressed name that b begins with.
func nameLen(b []byte) int {
	p := 0
	for b[p] != 0 {
		p += 1 + int(b[p])
	}
	return p + 1
}

// compressor writes the names in the data of one RRset, as if it stood right behind a question for its owner.
type compressor struct {
	out      []byte   // the zone's bytes
	start    int      // where in out the RRset begins
	owner    []byte   // in lower case
	pointers []uint16 // the zone's
	seen     []seen   // names of this RRset that may be pointed to
}

// seen is a name, or the rest of one, that was written.
type seen struct {
	name   []byte // in wire format, uncompressed
	offset int    // as a pointer has it
}

// reach is how far into an RRset pointers lead. An RRset may be sent behind a chain of aliases (see answer.maxLinks),
// and then all of its pointers must still be below wire.MaxPointer.
const reach = 4096

// offset returns where the next byte goes, in the coordinates of RRset.Pointers.
func (c *compressor) offset() int {
	return wire.HeaderLen + len(c.owner) + 4 + len(c.out) - c.start
}

// name writes a name and returns an offset at which it can be read, or 0 if pointers do not lead that far.
func (c *compressor) name(name []byte) (offset int) {
	at := c.offset()
	inReach := len(c.out)-c.start < reach
	p := 0
	for ; name[p] != 0; p += 1 + int(name[p]) {
		if found := c.lookup(name[p:]); found != 0 && inReach {
			c.point(found)
			if p == 0 {
				return found
			}
			return at
		}
		c.out = append(c.out, name[p:p+1+int(name[p])]...)
		if inReach {
			c.seen = append(c.seen, seen{name: name[p:], offset: at + p})
		}
	}
	c.out = append(c.out, 0)
	if !inReach {
		return 0
	}
	return at
}

// point writes a compression pointer and notes where it is.
func (c *compressor) point(offset int) {
	c.pointers = append(c.pointers, uint16(len(c.out)-c.start))
	c.out = append(c.out, 0, 0)
	wire.PutPointer(c.out[len(c.out)-2:], offset)
}

// lookup returns an offset at which a name can be read: in the question or in an earlier name of this RRset. A
// wildcard is not what the question will say, so of a wildcard only what is behind the "*" counts.
func (c *compressor) lookup(name []byte) int {
	for p := 0; c.owner[p] != 0; p += 1 + int(c.owner[p]) {
		rest := c.owner[p:]
		if p == 0 && isWildcard(rest) {
			continue
		}
		if wire.EqualFold(rest, name) {
			return wire.HeaderLen + p
		}
	}
	for _, s := range c.seen {
		if wire.EqualFold(s.name, name) {
			return s.offset
		}
	}
	return 0
}
