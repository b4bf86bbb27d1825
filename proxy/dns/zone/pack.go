package zone

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"

	"anyport/proxy/dns/wire"
)

// packer writes a zone's table.
type packer struct {
	*builder
	z     *Zone
	nodes []Node    // by number
	order []*record // the records of the name at work, by type

	firstTarget int // of the RRset at work, in z.targets
}

// pack compiles the collected records.
func (b *builder) pack() (*Zone, error) {
	z := &Zone{details: make([]detail, 1)}
	z.apex.Set(b.name(b.apex))
	// Room for all but what compression saves and duplicates take.
	perRecord := setHeader + 2 + wire.RecordLen
	z.bytes = make([]byte, 1, len(b.names)*nodeHeader+len(b.bytes)+len(b.records)*perRecord+len(b.data)+wire.MaxMessage)
	p := &packer{builder: b, z: z, nodes: make([]Node, 0, len(b.names))}
	for i := range b.names {
		p.nodes = append(p.nodes, p.node(number(i)))
	}
	if len(z.bytes) > math.MaxInt32 {
		b.faults.add(Fault{File: b.src.names[0], Text: "the zone is larger than 2 GiB"})
	}
	if err := b.faults.err(); err != nil {
		return nil, err
	}
	p.link()
	p.negative()
	z.authority = z.RRset(p.nodes[b.apex], wire.TypeNS)
	return z, nil
}

// node writes a node: its header, to which link adds, its name, and its RRsets in order of type.
func (p *packer) node(n number) Node {
	at, name := len(p.z.bytes), p.name(n)
	p.z.bytes = append(p.z.bytes, make([]byte, nodeHeader)...)
	p.z.bytes = append(p.z.bytes, name...)
	p.order = p.order[:0]
	p.each(n, func(r *record) {
		if !r.dead {
			p.order = append(p.order, r)
		}
	})
	slices.SortStableFunc(p.order, func(x, y *record) int { return cmp.Compare(x.kind, y.kind) })
	sets := uint16(0)
	for rest := p.order; len(rest) > 0; sets++ {
		k := 1
		for k < len(rest) && rest[k].kind == rest[0].kind {
			k++
		}
		oneTTL(rest[:k])
		p.set(n, rest[:k])
		rest = rest[k:]
	}
	p.z.Records += len(p.order)
	header := p.z.bytes[at:]
	binary.NativeEndian.PutUint16(header[nodeSets:], sets)
	header[nodeSize], header[nodeFlags] = uint8(len(name)), p.names[n].flags
	return Node(at)
}

// link turns numbers into nodes, now that all of these have their places.
func (p *packer) link() {
	for i, n := range p.nodes {
		header := p.z.bytes[n:]
		binary.NativeEndian.PutUint32(header[nodeAbove:], uint32(p.nodeOf(p.names[i].above)))
		binary.NativeEndian.PutUint32(header[nodeWildcard:], uint32(p.nodeOf(p.names[i].wildcard)))
	}
	for i := range p.z.targets {
		t := &p.z.targets[i]
		t.Node = p.nodeOf(number(t.Node))
	}
	p.z.seed, p.z.slots = p.seed, p.slots
	for i := range p.z.slots {
		if s := &p.z.slots[i]; s.node != 0 {
			s.node = uint32(p.nodes[s.node-1])
		}
	}
}

func (p *packer) nodeOf(n number) Node {
	if n == nobody {
		return none
	}
	return p.nodes[n]
}
