package rule

import (
	"net/netip"
	"slices"
)

// tree holds every destination prefix of a set, served ones and those of rules, with the rules that name it.
type tree struct {
	nodes []treeNode  // sorted by netip.Prefix.Compare: a node comes after all that enclose it
	roots [2]treeNode // IPv4 and IPv6: above all, with the rules that have no prefix; they serve nothing themselves
	rules []int32
}

// treeNode is a prefix and its part of tree.rules: the rules that name it, in order, less those that admit no source of
// its family.
type treeNode struct {
	prefix netip.Prefix // a root's is the zero Prefix
	parent int32        // the longest node that encloses this one; none: -1
	own    List
	open   bool // what the longest served prefix around the node is
}

// placement is a rule's claim to a prefix, or with Sealed or Open for a rule, that the prefix is served.
type placement struct {
	prefix netip.Prefix
	rule   int32
}

func (p placement) compare(q placement) int {
	if c := p.prefix.Compare(q.prefix); c != 0 {
		return c
	}
	return int(p.rule) - int(q.rule)
}

// plant builds the tree. Prefixes of rules that no served prefix encloses are left out and reported.
func plant(set *Set, valid []bool, from [2]*sources, b *budget) (*tree, []error) {
	t := &tree{}
	for i, src := range from {
		t.roots[i] = treeNode{parent: -1, own: t.unplaced(set, src)}
	}
	places := placements(set, valid, b)
	t.nodes = make([]treeNode, 0, len(places))
	t.rules = slices.Grow(t.rules, len(places))
	var faults []error
	above := int32(-1)
	for i, end := 0, 0; i < len(places); i = end {
		for end = i + 1; end < len(places) && places[end].prefix == places[i].prefix; {
			end++
		}
		prefix := places[i].prefix
		for above >= 0 && !encloses(t.nodes[above].prefix, prefix) {
			above = t.nodes[above].parent
		}
		if above < 0 && places[i].rule >= 0 {
			faults = append(faults, outside(places[i:end])...)
			continue
		}
		t.add(places[i:end], above, from[family(prefix)])
		above = int32(len(t.nodes) - 1)
	}
	return t, faults
}

// unplaced adds the rules without prefix that some source of the family can match.
func (t *tree) unplaced(set *Set, src *sources) List {
	own := List{Offset: uint32(len(t.rules))}
	for i := range set.Rules {
		if set.Rules[i].Prefixes == nil && !src.admitsNone(int32(i)) {
			t.rules = append(t.rules, int32(i))
		}
	}
	own.Len = uint32(len(t.rules)) - own.Offset
	return own
}

// placements returns what the set says of destination prefixes, sorted, or nothing if it passes the bound.
func placements(set *Set, valid []bool, b *budget) []placement {
	n := len(set.Prefixes)
	for i := range set.Rules {
		n += len(set.Rules[i].Prefixes)
	}
	if n > b.nodes {
		b.exceed("prefixes", b.nodes)
		return nil
	}
	places := make([]placement, 0, n)
	for _, p := range set.Prefixes {
		if p.IsValid() {
			places = append(places, placement{p.Masked(), p.fallback()})
		}
	}
	for i := range set.Rules {
		if !valid[i] {
			continue
		}
		for _, p := range set.Rules[i].Prefixes {
			places = append(places, placement{p, int32(i)})
		}
	}
	slices.SortFunc(places, placement.compare)
	return slices.Compact(places)
}

// fallback returns what decides about an address of the prefix that no rule claims: Open or Sealed.
func (p Prefix) fallback() int32 {
	if p.Open {
		return Open
	}
	return Sealed
}

// add appends the node of places, which are all of one prefix. Negative rules, which say that it is served, come first.
func (t *tree) add(places []placement, parent int32, src *sources) {
	n := treeNode{prefix: places[0].prefix, parent: parent, own: List{Offset: uint32(len(t.rules))}}
	if rule := places[0].rule; rule < 0 {
		n.open = rule == Open
	} else {
		n.open = t.nodes[parent].open
	}
	for _, p := range places {
		if p.rule >= 0 && !src.admitsNone(p.rule) {
			t.rules = append(t.rules, p.rule)
		}
	}
	n.own.Len = uint32(len(t.rules)) - n.own.Offset
	t.nodes = append(t.nodes, n)
}

// own returns the rules that name the node's prefix.
func (t *tree) own(n *treeNode) []int32 { return t.rules[n.own.Offset : n.own.Offset+n.own.Len] }

func outside(places []placement) []error {
	var faults []error
	for _, p := range places {
		faults = append(faults, &OutsideError{Rule: int(p.rule), Prefix: p.prefix})
	}
	return faults
}

// family returns 0 for an IPv4 prefix and 1 for an IPv6 one.
func family(p netip.Prefix) uint32 {
	if p.Addr().Is4() {
		return 0
	}
	return 1
}
