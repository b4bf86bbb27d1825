package zone

import "hash/maphash"

// index is the names of a zone while it is built. They have numbers, in the order in which they came.
type index struct {
	seed  maphash.Seed
	slots []slot // of numbers plus one
	names []draft
	bytes []byte // the names in wire format and lower case
}

// number is a name's place in index.names.
type number int32

// nobody is no number.
const nobody number = -1

// draft is what becomes the header of a node.
type draft struct {
	name     uint32 // offset in index.bytes
	above    number
	wildcard number
	size     uint8
	flags    uint8
	placed   bool // above is known
}

const firstSlots = 64

func newIndex() index {
	return index{seed: maphash.MakeSeed(), slots: make([]slot, firstSlots)}
}

// name returns a name in wire format and lower case.
func (x *index) name(n number) []byte {
	d := &x.names[n]
	return x.bytes[d.name : d.name+uint32(d.size)]
}

// find returns the number of a name in wire format and lower case, or nobody.
func (x *index) find(name []byte) number {
	n, _, _ := x.probe(name)
	return n
}

// probe returns the number of a name, or nobody and the free place and tag for it.
func (x *index) probe(name []byte) (n number, place, tag uint32) {
	h := maphash.Bytes(x.seed, name)
	mask := uint32(len(x.slots) - 1)
	tag = uint32(h >> 32)
	for place = uint32(h) & mask; ; place = (place + 1) & mask {
		s := x.slots[place]
		if s.node == 0 {
			return nobody, place, tag
		}
		if s.tag == tag && string(x.name(number(s.node-1))) == string(name) {
			return number(s.node - 1), place, tag
		}
	}
}

// add returns the number of a name, which is a new one if the name is.
func (x *index) add(name []byte) number {
	n, place, tag := x.probe(name)
	if n != nobody {
		return n
	}
	x.names = append(x.names, draft{
		name: uint32(len(x.bytes)), size: uint8(len(name)), above: nobody, wildcard: nobody,
	})
	x.bytes = append(x.bytes, name...)
	x.slots[place] = slot{tag: tag, node: uint32(len(x.names))}
	if len(x.names) > len(x.slots)/3*2 {
		x.grow()
	}
	return number(len(x.names) - 1)
}

// grow doubles the table.
func (x *index) grow() {
	x.slots = make([]slot, 2*len(x.slots))
	mask := uint32(len(x.slots) - 1)
	for i := range x.names {
		h := maphash.Bytes(x.seed, x.name(number(i)))
		place := uint32(h) & mask
		for x.slots[place].node != 0 {
			place = (place + 1) & mask
		}
		x.slots[place] = slot{tag: uint32(h >> 32), node: uint32(i + 1)}
	}
}
