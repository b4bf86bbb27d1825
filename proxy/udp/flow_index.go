package udp

import "math/bits"

// flowIndex finds a flow by the hash of its key: open addressing with linear probing, eight entries to a cache line.
// Entries keep the hash, so that a probe seldom looks at a flow, and a removal never does. It does not grow by itself.
type flowIndex struct {
	entries []indexEntry // a power of two
	mask    uint32
}

type indexEntry struct {
	hash uint32
	flow flowID // noFlow: the entry is empty
}

// newFlowIndex returns an index for at most n flows, which fill four fifths of it or less.
func newFlowIndex(n int) flowIndex {
	size := 1 << bits.Len(uint(n+n/4))
	x := flowIndex{entries: make([]indexEntry, size), mask: uint32(size - 1)}
	for i := range x.entries {
		x.entries[i].flow = noFlow
	}
	return x
}

// resized returns an index with the same flows and room for n.
func (x *flowIndex) resized(n int) flowIndex {
	fresh := newFlowIndex(n)
	for _, e := range x.entries {
		if e.flow != noFlow {
			fresh.insert(e.hash, e.flow)
		}
	}
	return fresh
}

// find returns the flow with that hash and key, or noFlow.
func (x *flowIndex) find(flows []flow, hash uint32, key *flowKey) flowID {
	for i := hash & x.mask; ; i = (i + 1) & x.mask {
		e := x.entries[i]
		if e.flow == noFlow || e.hash == hash && flows[e.flow].key == *key {
			return e.flow
		}
	}
}

// insert adds a flow that is not in the index.
func (x *flowIndex) insert(hash uint32, id flowID) {
	i := hash & x.mask
	for x.entries[i].flow != noFlow {
		i = (i + 1) & x.mask
	}
	x.entries[i] = indexEntry{hash, id}
}

// remove takes a flow out that is in the index, and closes the gap: an entry behind it moves up unless that would put
// it before its own place.
func (x *flowIndex) remove(hash uint32, id flowID) {
	gap := hash & x.mask
	for x.entries[gap].flow != id {
		gap = (gap + 1) & x.mask
	}
	for i := (gap + 1) & x.mask; x.entries[i].flow != noFlow; i = (i + 1) & x.mask {
		home := x.entries[i].hash & x.mask
		if (i-home)&x.mask >= (i-gap)&x.mask {
			x.entries[gap] = x.entries[i]
			gap = i
		}
	}
	x.entries[gap].flow = noFlow
}
