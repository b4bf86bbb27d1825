package zone

import (
	"encoding/binary"
	"hash/maphash"
)

// Node is a name of a compiled zone, an owner of RRsets or an empty non-terminal (RFC 4592 section 2.2.2): an offset in
// its table's bytes.
type Node int32

// none is no node.
const none Node = -1

// table is the names of a compiled zone and all that they own. In its bytes, each node is a header, the name, and the
// RRsets (see rrset.go), one behind the other, so that a look-up and its answer touch two places in memory: a slot of
// the hash table, and there. Numbers are in the machine's order.
type table struct {
	seed  maphash.Seed // random, so that nobody who may add names to a zone can make them collide
	slots []slot       // a power of two, at most two thirds full, with linear probing
	bytes []byte       // nothing at offset 0
}

// slot is one place of a hash table. The tag saves most look-ups of a name that differs.
type slot struct {
	tag  uint32 // upper half of the name's hash
	node uint32 // 0: free
}

// The header of a node.
const (
	nodeAbove    = 0  // Node: the topmost delegation or DNAME above it, which hides it; or none
	nodeWildcard = 4  // Node: its child "*", or none
	nodeSets     = 8  // 16 bits: how many RRsets
	nodeSize     = 10 // 8 bits: length of the name
	nodeFlags    = 11
	nodeHeader   = 12
)

// Flags of a node.
const (
	isCut   uint8 = 1 << iota // delegated: NS records below the apex
	isDNAME                   // has a DNAME record
)

// Name returns a node's name in wire format and lower case, not to be changed.
func (t *table) Name(n Node) []byte {
	b := t.bytes[n:]
	end := nodeHeader + int(b[nodeSize])
	return b[nodeHeader:end:end]
}

func (t *table) above(n Node) Node {
	return Node(binary.NativeEndian.Uint32(t.bytes[n+nodeAbove:]))
}

func (t *table) wildcard(n Node) Node {
	return Node(binary.NativeEndian.Uint32(t.bytes[n+nodeWildcard:]))
}

func (t *table) flags(n Node) uint8 { return t.bytes[n+nodeFlags] }

// sets returns the offset of a node's first RRset, and how many there are.
func (t *table) sets(n Node) (at uint32, count uint16) {
	b := t.bytes[n:]
	return uint32(n) + nodeHeader + uint32(b[nodeSize]), binary.NativeEndian.Uint16(b[nodeSets:])
}

// find returns the node of a name in wire format and lower case, or none.
func (t *table) find(name []byte) Node {
	h := maphash.Bytes(t.seed, name)
	mask := uint32(len(t.slots) - 1)
	tag := uint32(h >> 32)
	for i := uint32(h) & mask; ; i = (i + 1) & mask {
		s := t.slots[i]
		if s.node == 0 {
			return none
		}
		if s.tag == tag && string(t.Name(Node(s.node))) == string(name) {
			return Node(s.node)
		}
	}
}
