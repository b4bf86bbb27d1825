package rule

// chains holds what a port of a node leads to before sources are looked at: groups of rules, best group first. It is a
// store of linked lists in which equal tails are one, so that a node costs only what it adds to the node above. A chain
// is the number of its first cell.
type chains struct {
	budget *budget
	src    *sources
	groups *runs[int32] // rules that only the source tells apart; items begins with every rule alone, in order
	cells  []cell
	ids    map[cell]uint32
}

// cell is a group and the chain to ask where the group does not admit the source.
type cell struct {
	group List
	next  uint32
}

// noRule is the chain without any rule: the default of the served prefix decides.
const noRule uint32 = 0

func newChains(rules int, src *sources, b *budget) *chains {
	c := &chains{
		budget: b,
		src:    src,
		groups: newRuns(b, "rules in groups", rules+maxScratch, number[int32]),
		cells:  make([]cell, 1),
		ids:    make(map[cell]uint32),
	}
	for i := range rules {
		c.groups.items = append(c.groups.items, int32(i))
	}
	return c
}

// group stores some rules. One rule alone, which is the common case, needs no search.
func (c *chains) group(rules []int32) List {
	if len(rules) == 1 {
		return List{Offset: uint32(rules[0]), Len: 1}
	}
	c.budget.spend(costMap)
	l, _ := c.groups.add(rules)
	return l
}

// push returns the chain that asks group first and then next.
func (c *chains) push(group List, next uint32) uint32 {
	if c.decides(c.groups.at(group)) {
		next = noRule
	}
	c.budget.spend(costMap)
	key := cell{group, next}
	id, ok := c.ids[key]
	if ok {
		return id
	}
	if len(c.cells) >= c.budget.rows {
		c.budget.exceed("rows", c.budget.rows)
		return noRule
	}
	id = uint32(len(c.cells))
	c.cells = append(c.cells, key)
	c.ids[key] = id
	return id
}

// decides reports whether every source matches some rule of the group by itself, so that nothing is asked after it.
func (c *chains) decides(group []int32) bool {
	for _, rule := range group {
		if c.src.admitsAll(rule) {
			return true
		}
	}
	return false
}
