package rule

import (
	"net/netip"

	"github.com/gaissmai/bart"
)

// Table is a compiled [Set]: flat arrays that lead from a packet to an action. The exported fields are what the
// kernel's maps are filled from and must not be changed. A Table is immutable and safe for concurrent use; it is always
// handled by pointer.
//
// The way through it: the longest [Node] that contains the destination address (none: the address is not served), its
// list for the protocol, in that list the last [Interval] that begins at or below the port, the interval's [Row], and
// Actions[Base+ordinal]. The ordinal is 0 for a row whose SourceSet is 0; otherwise that of the longest [Source] of the
// set that contains the source address, and 0 if none does.
type Table struct {
	Nodes     []Node     // sorted by netip.Prefix.Compare; a node that says the same as the one above it is left out
	Intervals []Interval // the lists, end to end
	Rows      []Row      // row 0 refuses as Sealed
	Actions   []Action
	Sources   []Source // sorted by set, then by netip.Prefix.Compare

	set   Set
	index bart.Table[uint32] // prefix -> index in Nodes
	sets  []List             // by source set: its part of Sources; sets[0] is empty
	above []int32            // by source: the index of the longest source of its set that contains it, or -1
}

// List is a part of an array: Len elements from Offset on.
type List struct {
	Offset, Len uint32
}

// Node is a destination prefix and its lists in Table.Intervals. Equal lists are stored once, so nodes share them.
type Node struct {
	Prefix   netip.Prefix
	TCP, UDP List
}

// List returns the node's list for p, which is TCP or UDP.
func (n *Node) List(p Protocol) List {
	if p == TCP {
		return n.TCP
	}
	return n.UDP
}

// Interval is the ports from First up to the First of the next interval of its list, or to 65535. The first interval of
// a list begins at 0; at most 65,536 make a list, so 17 steps of binary search find a port.
type Interval struct {
	First uint16
	Row   uint32 // index in Table.Rows
}

// Row is what the port stage leads to: where the actions lie, and the source set that chooses among them.
type Row struct {
	SourceSet uint32 // 0: there is no source stage
	Base      uint32 // of ordinal 0 in Table.Actions
}

// Action is what happens to a packet in the end.
type Action struct {
	Verdict  Verdict
	Service  uint16 // NoService unless Verdict is Steer
	Fallback uint16 // NoService unless Verdict is Steer and the rule has one
	Rule     int32  // index in Set.Rules, or Sealed or Open
}

// Source is an entry of a source set, the key of a longest-prefix match within that set.
type Source struct {
	Set     uint32 // 1 or more
	Prefix  netip.Prefix
	Ordinal uint32 // added to Row.Base
}

// Decision is what a Table says about one packet.
type Decision struct {
	Verdict Verdict
	Rule    int // index in Set.Rules, or Sealed, Open or Outside
}

// Set returns what the table was compiled from, which must not be changed.
func (t *Table) Set() Set { return t.set }

// Serves reports whether addr lies in a served prefix. An IPv4-mapped address stands for the IPv4 address in it.
func (t *Table) Serves(addr netip.Addr) bool {
	_, ok := t.index.Lookup(plain(addr))
	return ok
}

// plain returns addr as prefixes know it: IPv4-mapped addresses unmapped, without a zone.
func plain(addr netip.Addr) netip.Addr { return addr.Unmap().WithZone("") }
