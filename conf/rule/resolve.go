package rule

import (
	"cmp"
	"slices"
)

// resolver turns a chain into a source set and its actions. Source is the last step of the precedence, so a plain
// longest-prefix match over the sources of all rules would be wrong: a better group's shorter prefix beats a worse
// group's longer one. Every prefix of a set therefore carries the winner among all groups.
//
// What a set looks like depends on the From lists in the chain and their order only, not on the rules that have them.
// The resolver works on that shape, so that an allow list is resolved once however many rules share it.
type resolver struct {
	chains *chains
	out    *output
	shapes *runs[uint32] // as shape describes
	solved map[List]solution

	// Of the chain at hand:
	rules    []int32  // best group first
	shape    []uint32 // by rule: its From list's offset times two, plus one if the rule begins a group
	group    []int32  // by rule: the number of its group
	seen     []int    // by offset of a From list: the last chain that has it
	count    int      // of chains
	keys     []uint64 // every source of every rule: rank<<32 | index in rules
	ordinals []uint32 // by rule: its ordinal in the set at hand, or 0
	set      []sourceEntry
	path     []sourceAnswer // of the prefixes around the one at hand, outermost first
}

// solution is what a shape resolves to.
type solution struct {
	set     uint32
	winners []int32 // by ordinal: the index in resolver.rules, or nobody
}

// nobody stands for the default where no rule admits the source.
const nobody int32 = -1

func newResolver(c *chains, out *output) *resolver {
	return &resolver{
		chains: c, out: out,
		shapes: newRuns(c.budget, "From lists in rows", maxScratch, number[uint32]),
		solved: make(map[List]solution),
		seen:   make([]int, len(c.src.lists.items)),
	}
}

// row returns the row that a chain leads to at a sealed or an open prefix.
func (r *resolver) row(chain uint32, open bool) uint32 {
	r.collect(chain)
	shape, known := r.shapes.add(r.shape)
	if !known {
		r.solved[shape] = r.solve()
	}
	return r.out.row(r.solved[shape], r.rules, open)
}

// collect lists the rules of a chain and its shape, without rules whose From list a better group has too: nothing is
// left for them.
func (r *resolver) collect(chain uint32) {
	r.rules, r.shape, r.group = r.rules[:0], r.shape[:0], r.group[:0]
	r.count++
	for group := int32(0); chain != noRule; group++ {
		c := r.chains.cells[chain]
		begins := uint32(1)
		for _, rule := range r.chains.groups.at(c.group) {
			from := r.chains.src.from[rule].Offset
			if r.seen[from] == r.count {
				continue
			}
			r.seen[from] = r.count
			r.rules = append(r.rules, rule)
			r.shape = append(r.shape, from<<1|begins)
			r.group = append(r.group, group)
			begins = 0
		}
		chain = c.next
	}
	r.chains.budget.spend(costRow + len(r.rules))
}

// solve resolves the shape at hand. The sources are visited in the order in which a prefix follows those around it; on
// the way down, a prefix takes over from the one around it unless that one's winner is of a better group.
func (r *resolver) solve() solution {
	s := solution{winners: []int32{nobody}}
	r.set, r.path = r.set[:0], r.path[:0]
	r.ordinals = append(r.ordinals[:0], make([]uint32, len(r.rules))...)
	for i, key := range r.sortKeys() {
		rank, rule := uint32(key>>32), int32(uint32(key))
		if i > 0 && uint32(r.keys[i-1]>>32) == rank {
			continue // a worse group has the same prefix
		}
		around := r.around(rank, s.winners[0])
		switch {
		case around != nobody && (around == rule || r.group[around] < r.group[rule]):
			continue
		case rank == 0:
			s.winners[0] = rule
			continue
		}
		r.set = append(r.set, sourceEntry{r.chains.src.family, rank, r.ordinal(&s, rule)})
		r.path = append(r.path, sourceAnswer{rank, rule})
	}
	s.set = r.out.sourceSet(r.set)
	return s
}

// around steps back to the prefix in the set that contains the one of rank, and returns its winner; outside all of them
// that is others.
func (r *resolver) around(rank uint32, others int32) int32 {
	for n := len(r.path); n > 0; n-- {
		if r.chains.src.contains(r.path[n-1].rank, rank) {
			return r.path[n-1].winner
		}
		r.path = r.path[:n-1]
	}
	return others
}

// sourceAnswer is a source prefix by its rank, and the index of the rule that wins there.
type sourceAnswer struct {
	rank   uint32
	winner int32
}

// sortKeys returns the sources of all rules, sorted by prefix and then from best to worst.
func (r *resolver) sortKeys() []uint64 {
	r.keys = r.keys[:0]
	for i, rule := range r.rules {
		for _, rank := range r.chains.src.list(rule) {
			r.keys = append(r.keys, uint64(rank)<<32|uint64(i))
		}
	}
	r.chains.budget.spend(len(r.keys))
	slices.SortFunc(r.keys, cmp.Compare[uint64])
	return r.keys
}

// ordinal returns the ordinal of a winner, a new one on its first win.
func (r *resolver) ordinal(s *solution, winner int32) uint32 {
	if winner == s.winners[0] {
		return 0
	}
	if r.ordinals[winner] == 0 {
		r.ordinals[winner] = uint32(len(s.winners))
		s.winners = append(s.winners, winner)
	}
	return r.ordinals[winner]
}
