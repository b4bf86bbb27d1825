package rule

import (
	"cmp"
	"slices"
)

// sweep cuts the ports into segments by the claims of one node and says who claims each. Its slices are kept from node
// to node.
type sweep struct {
	chains *chains
	starts []claim // by First
	ends   []claim // by Last
	active []claim // those that contain the current segment, best first
	group  []int32
	stack  []List // what groups returns
	seen   []int  // by offset of a From list: the last segment whose stack has it
	count  int    // of segments
}

func newSweep(c *chains) *sweep {
	return &sweep{chains: c, seen: make([]int, len(c.src.lists.items))}
}

// run calls visit for one segment after the other, from port 1 to 65535, with the groups that claim it, best first. The
// stack is valid until visit returns.
func (s *sweep) run(own []claim, visit func(ports PortRange, stack []List)) {
	s.starts = append(s.starts[:0], own...)
	s.ends = append(s.ends[:0], own...)
	slices.SortFunc(s.starts, func(c, d claim) int { return cmp.Compare(c.First, d.First) })
	slices.SortFunc(s.ends, func(c, d claim) int { return cmp.Compare(c.Last, d.Last) })
	s.active = s.active[:0]
	starts, ends := s.starts, s.ends
	for first := 1; first <= 65535 && s.chains.budget.over == nil; {
		for ; len(ends) > 0 && int(ends[0].Last) < first; ends = ends[1:] {
			s.leave(ends[0])
		}
		for ; len(starts) > 0 && int(starts[0].First) == first; starts = starts[1:] {
			s.enter(starts[0])
		}
		next := 65536
		if len(starts) > 0 {
			next = int(starts[0].First)
		}
		if len(ends) > 0 {
			next = min(next, int(ends[0].Last)+1)
		}
		visit(PortRange{uint16(first), uint16(next - 1)}, s.groups())
		first = next
	}
}

func (s *sweep) enter(c claim) {
	i, _ := slices.BinarySearchFunc(s.active, c, claim.compare)
	s.active = slices.Insert(s.active, i, c)
}

func (s *sweep) leave(c claim) {
	i, _ := slices.BinarySearchFunc(s.active, c, claim.compare)
	s.active = slices.Delete(s.active, i, i+1)
}

// groups returns the groups of the active claims, best first, without what no packet can reach: groups after one that
// decides about every source, and rules whose From list a better group has too.
func (s *sweep) groups() []List {
	s.stack = s.stack[:0]
	s.count++
	for i, end := 0, 0; i < len(s.active); i = end {
		s.group = s.group[:0]
		for end = i; end < len(s.active) && s.active[end].rank == s.active[i].rank; end++ {
			rule := s.active[end].rule
			if from := s.chains.src.from[rule].Offset; s.seen[from] != s.count {
				s.seen[from] = s.count
				s.group = append(s.group, rule)
			}
		}
		s.chains.budget.spend(end - i)
		if len(s.group) == 0 {
			continue
		}
		s.stack = append(s.stack, s.chains.group(s.group))
		if s.chains.decides(s.group) {
			break
		}
	}
	return s.stack
}
