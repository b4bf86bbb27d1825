package answer

import (
	"anyport/proxy/dns/wire"
	"anyport/proxy/dns/zone"
)

// maxLinks bounds the aliases that one response follows. The resolver that asked goes on where it ends (RFC 1034
// section 3.6.2 asks for loops to be detected; RFC 6672 section 2.2 lets expansions grow without end). With the longest
// names the whole chain takes less than 9,000 bytes, so that what comes behind it is in reach of pointers.
const maxLinks = 16

// path is the names that a query leads to: the one asked for, then one for every alias followed. It knows where each
// of them lies in the message, so that later records can point to any suffix of the newest.
type path struct {
	first   *wire.Name // the question's
	name    *wire.Name // the newest
	links   int
	aliases [maxLinks]wire.Name
	anchors [1 + 2*maxLinks]anchor
	last    int // the newest anchor
	dnames  [maxLinks]placed
	placed  int
}

// anchor is where a name lies in the message: at pos its own labels, and then, as a pointer, the suffix that it shares
// with the anchor before it.
type anchor struct {
	pos    int
	size   int // of the whole name in wire format
	shared int // of the suffix that lies elsewhere; 0: the name is whole
}

// placed is a DNAME record in the message.
type placed struct {
	zone *zone.Zone
	node zone.Node
	data int // where its data starts
}

// begin starts the path with the name of the question.
func (p *path) begin(name *wire.Name) {
	p.first, p.name = name, name
	p.links, p.last, p.placed = 0, 0, 0
	p.anchors[0] = anchor{pos: wire.HeaderLen, size: name.Len()}
}

// direct reports whether the newest name is the question's.
func (p *path) direct() bool { return p.links == 0 }

// suffix returns where the last size bytes of the newest name can be read.
func (p *path) suffix(size int) int {
	i := p.last
	for size <= p.anchors[i].shared {
		i--
	}
	a := &p.anchors[i]
	return a.pos + a.size - size
}

// next returns the name to fill for the next alias, or nil if the chain ends here: because it is too long, or because
// the newest name was met before.
func (p *path) next() *wire.Name {
	if p.links == maxLinks || p.looped() {
		return nil
	}
	return &p.aliases[p.links]
}

func (p *path) looped() bool {
	if p.links == 0 {
		return false
	}
	for i := range p.links - 1 {
		if p.aliases[i].Equal(p.name) {
			return true
		}
	}
	return p.first.Equal(p.name)
}

// push makes the name that next returned the newest, found at an anchor.
func (p *path) push(a anchor) {
	p.name = &p.aliases[p.links]
	p.links++
	p.anchor(a)
}

// anchor adds an anchor that the next one shares a suffix with.
func (p *path) anchor(a anchor) {
	p.last++
	p.anchors[p.last] = a
}

// forget drops what refers to zones.
func (p *path) forget() {
	clear(p.dnames[:p.placed])
	p.placed = 0
}

// redirect returns the DNAME record of a node if it is in the message, or nil.
func (p *path) redirect(z *zone.Zone, node zone.Node) *placed {
	for i := range p.placed {
		if d := &p.dnames[i]; d.zone == z && d.node == node {
			return d
		}
	}
	return nil
}

// moved returns where a pointer of an RRset leads when the RRset stands at start.
func (r *Responder) moved(s *zone.RRset, start, pointer int) int {
	if pointer >= s.Start() {
		return pointer - s.Start() + start
	}
	return r.path.suffix(wire.HeaderLen + s.Owner - pointer)
}
