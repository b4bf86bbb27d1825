package rule

import (
	"cmp"
	"net/netip"
	"slices"
)

// tieFinder looks for rules that nothing tells apart. It goes through the claims of one prefix and one rank in the order
// of their ports, and notes for each source prefix who claimed it last.
type tieFinder struct {
	set    *Set
	budget *budget
	faults []error
	pairs  map[[2]int32]bool // reported
	claims []claim
	last   []int32 // by rank of a source: index in claims + 1 of the last claim on it, 0 once that has ended
}

// findTies returns a TieError for every pair of rules that follow one another in a tie.
func findTies(set *Set, t *tree, from [2]*sources, b *budget) []error {
	f := &tieFinder{set: set, budget: b, pairs: make(map[[2]int32]bool)}
	for i, src := range from {
		f.last = make([]int32, len(src.prefixes))
		f.node(t, &t.roots[i], src)
		for n := range t.nodes {
			if family(t.nodes[n].prefix) == src.family {
				f.node(t, &t.nodes[n], src)
			}
		}
	}
	return f.faults
}

// node looks at the rules that name one prefix. A tie of rules for both protocols shows with either.
func (f *tieFinder) node(t *tree, n *treeNode, src *sources) {
	if n.own.Len < 2 || f.budget.over != nil {
		return
	}
	for _, p := range [...]Protocol{TCP, UDP} {
		f.claims = claims(f.claims[:0], f.set, t.own(n), p)
		slices.SortFunc(f.claims, func(c, d claim) int {
			return cmp.Or(cmp.Compare(c.rank, d.rank), cmp.Compare(c.First, d.First), cmp.Compare(c.rule, d.rule))
		})
		begin := 0
		for i := 1; i <= len(f.claims); i++ {
			if i == len(f.claims) || !f.claims[i-1].meets(f.claims[i]) {
				f.cluster(begin, i, n.prefix, src)
				begin = i
			}
		}
	}
}

// meets reports whether two claims are of one rank and have ports in common; c.First <= d.First.
func (c claim) meets(d claim) bool { return c.rank == d.rank && d.First <= c.Last }

// cluster looks at claims[begin:end], each of which meets the one before. As all are of one width, they end in the order
// in which they begin.
func (f *tieFinder) cluster(begin, end int, prefix netip.Prefix, src *sources) {
	if end-begin < 2 {
		return
	}
	oldest := begin
	for i := begin; i < end; i++ {
		for ; f.claims[oldest].Last < f.claims[i].First; oldest++ {
			f.release(oldest, src)
		}
		f.take(i, prefix, src)
	}
	for ; oldest < end; oldest++ {
		f.release(oldest, src)
	}
}

// take notes claim i as the last on each of its sources, and reports whom it meets there.
func (f *tieFinder) take(i int, prefix netip.Prefix, src *sources) {
	c := f.claims[i]
	list := src.list(c.rule)
	f.budget.spend(len(list))
	for _, rank := range list {
		if other := f.last[rank]; other != 0 {
			f.report(f.claims[other-1], c, prefix, src.prefixes[rank])
		}
		f.last[rank] = int32(i + 1)
	}
}

// release forgets claim i.
func (f *tieFinder) release(i int, src *sources) {
	for _, rank := range src.list(f.claims[i].rule) {
		if f.last[rank] == int32(i+1) {
			f.last[rank] = 0
		}
	}
}

func (f *tieFinder) report(c, d claim, prefix, source netip.Prefix) {
	pair := [2]int32{min(c.rule, d.rule), max(c.rule, d.rule)}
	if f.pairs[pair] {
		return
	}
	f.pairs[pair] = true
	f.faults = append(f.faults, &TieError{
		A: int(pair[0]), B: int(pair[1]), Prefix: prefix, Protocol: f.set.Rules[c.rule].Protocol,
		Ports: PortRange{First: d.First, Last: c.Last}, Source: source,
	})
}
