package rule

import "slices"

// layer is what a node makes of every port, for one protocol: its own claims on top of the layer of the node above.
// Nodes that make the same of the same share one.
type layer struct {
	segments []segment // sorted; the first begins at port 1, the last ends at 65535
	lists    [2]List   // for a sealed and an open node, once emitted; Len 0 before
}

// segment is the ports from first up to the next segment, and what they lead to.
type segment struct {
	first uint16
	chain uint32
}

// overlay builds a layer from left to right.
type overlay struct {
	chains *chains
	below  []segment // of the node above
	at     int       // below[at] contains the port that was asked for last
	out    []segment
}

// build lays claims on the layer below.
func (o *overlay) build(s *sweep, own []claim, below *layer) *layer {
	o.below, o.at, o.out = below.segments, 0, o.out[:0]
	s.run(own, o.put)
	return &layer{segments: slices.Clone(o.out)}
}

// put appends the ports of one segment of the sweep. A stack that decides hides what is below; any other stack, the
// empty one above all, inherits it.
func (o *overlay) put(ports PortRange, stack []List) {
	if n := len(stack); n > 0 && o.chains.decides(o.chains.groups.at(stack[n-1])) {
		o.add(ports.First, stack, noRule)
		return
	}
	for o.at+1 < len(o.below) && o.below[o.at+1].first <= ports.First {
		o.at++
	}
	o.add(ports.First, stack, o.below[o.at].chain)
	for o.at+1 < len(o.below) && o.below[o.at+1].first <= ports.Last {
		o.at++
		o.add(o.below[o.at].first, stack, o.below[o.at].chain)
	}
}

// add appends a segment that asks the stack and then next, unless it says what the segment before it says.
func (o *overlay) add(first uint16, stack []List, next uint32) {
	o.chains.budget.spend(1)
	for _, group := range slices.Backward(stack) {
		next = o.chains.push(group, next)
	}
	if n := len(o.out); n == 0 || o.out[n-1].chain != next {
		o.out = append(o.out, segment{first, next})
	}
}
