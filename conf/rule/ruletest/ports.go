package ruletest

import (
	"slices"

	"anyport/conf/rule"
)

// ranges returns sorted, disjoint ranges: some picked ones, or all ports less some exclusions.
func (g *generator) ranges() []rule.PortRange {
	if g.rng.IntN(4) == 0 {
		return g.excluded()
	}
	var list []rule.PortRange
	for range 1 + g.rng.IntN(3) {
		list = add(list, g.portRange())
	}
	if g.rng.IntN(4) == 0 {
		list = split(list, g.rng.IntN(len(list)))
	}
	return list
}

// portRange returns a range that begins or ends at one of the set's ports.
func (g *generator) portRange() rule.PortRange {
	port := int(g.ports[g.rng.IntN(len(g.ports))])
	width := []int{1, 1, 2, 3, 100, 1000, 40000}[g.rng.IntN(7)]
	if g.rng.IntN(2) == 0 {
		return rule.PortRange{First: uint16(port), Last: uint16(min(65535, port+width-1))}
	}
	return rule.PortRange{First: uint16(max(1, port-width+1)), Last: uint16(port)}
}

// excluded returns 1-65535 less one to three of the set's ports.
func (g *generator) excluded() []rule.PortRange {
	var holes []uint16
	for range 1 + g.rng.IntN(3) {
		holes = append(holes, g.ports[g.rng.IntN(len(g.ports))])
	}
	slices.Sort(holes)
	var list []rule.PortRange
	first := 1
	for _, hole := range append(slices.Compact(holes), 0) {
		last := int(hole) - 1
		if hole == 0 {
			last = 65535
		}
		if first <= last {
			list = append(list, rule.PortRange{First: uint16(first), Last: uint16(last)})
		}
		first = int(hole) + 1
	}
	return list
}

// add inserts a range in order, unless it overlaps one of the list.
func add(list []rule.PortRange, r rule.PortRange) []rule.PortRange {
	i := 0
	for ; i < len(list) && list[i].First <= r.Last; i++ {
		if r.First <= list[i].Last {
			return list
		}
	}
	return slices.Insert(list, i, r)
}

// split cuts range i in two that touch.
func split(list []rule.PortRange, i int) []rule.PortRange {
	r := list[i]
	if r.First == r.Last {
		return list
	}
	middle := r.First + (r.Last-r.First)/2
	list[i] = rule.PortRange{First: middle + 1, Last: r.Last}
	return slices.Insert(list, i, rule.PortRange{First: r.First, Last: middle})
}
