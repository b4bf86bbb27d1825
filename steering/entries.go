package steering

import (
	"anyport/bpf"
	"anyport/conf/rule"
)

// The functions here turn the arrays of a rule.Table into the keys and values of the maps that tables.h declares.

func node(n *rule.Node) bpf.SteerNode {
	return bpf.SteerNode{
		Tcp: bpf.SteerList{Offset: n.TCP.Offset, Len: n.TCP.Len},
		Udp: bpf.SteerList{Offset: n.UDP.Offset, Len: n.UDP.Len},
	}
}

func nodes4(nodes []rule.Node) (keys []bpf.SteerDst4Key, values []bpf.SteerNode) {
	for i := range nodes {
		if p := nodes[i].Prefix; p.Addr().Is4() {
			keys = append(keys, bpf.SteerDst4Key{Prefixlen: uint32(p.Bits()), Ip: p.Addr().As4()})
			values = append(values, node(&nodes[i]))
		}
	}
	return keys, values
}

func nodes6(nodes []rule.Node) (keys []bpf.SteerDst6Key, values []bpf.SteerNode) {
	for i := range nodes {
		if p := nodes[i].Prefix; p.Addr().Is6() {
			keys = append(keys, bpf.SteerDst6Key{Prefixlen: uint32(p.Bits()), Ip: p.Addr().As16()})
			values = append(values, node(&nodes[i]))
		}
	}
	return keys, values
}

func intervals(list []rule.Interval) []bpf.SteerInterval {
	values := make([]bpf.SteerInterval, len(list))
	for i, in := range list {
		values[i] = bpf.SteerInterval{First: in.First, Row: in.Row}
	}
	return values
}

func rows(list []rule.Row) []bpf.SteerRow {
	values := make([]bpf.SteerRow, len(list))
	for i, r := range list {
		values[i] = bpf.SteerRow{SourceSet: r.SourceSet, Base: r.Base}
	}
	return values
}

func actions(list []rule.Action, set rule.Set, ids []uint32) []bpf.SteerAction {
	_, places := rates(set)
	values := make([]bpf.SteerAction, len(list))
	for i, a := range list {
		values[i] = bpf.SteerAction{
			Verdict:  bpf.SteerVerdict(a.Verdict),
			Service:  a.Service,
			Fallback: a.Fallback,
			Counter:  counterID(a.Rule, ids),
			Rate:     places[rateOf(a, set)],
		}
	}
	return values
}

// rates returns the different rates of the rules, the first being none, and the place of each.
func rates(set rule.Set) (values []bpf.SteerRate, places map[rule.Rate]uint32) {
	values = []bpf.SteerRate{{}}
	places = map[rule.Rate]uint32{{}: 0}
	for i := range set.Rules {
		r := set.Rules[i].Rate
		if _, known := places[r]; known {
			continue
		}
		places[r] = uint32(len(values))
		values = append(values, bpf.SteerRate{
			Interval:  uint64(r.Interval),
			Tolerance: uint64(r.Interval) * uint64(r.Burst-1),
			Bits4:     uint32(r.Bits4),
			Bits6:     uint32(r.Bits6),
		})
	}
	return values, places
}

func rateOf(a rule.Action, set rule.Set) rule.Rate {
	if a.Rule < 0 {
		return rule.Rate{}
	}
	return set.Rules[a.Rule].Rate
}

// counterID returns the counter of a rule, or of the default that stands in its place.
func counterID(r int32, ids []uint32) uint32 {
	switch r {
	case rule.Sealed:
		return IDSealed
	case rule.Open:
		return IDOpen
	case rule.Outside:
		return IDOutside
	}
	return ids[r]
}

// setBits is the length of the set number in front of the address in a source key.
const setBits = 32

func sources4(list []rule.Source) (keys []bpf.SteerSrc4Key, ordinals []uint32) {
	for _, s := range list {
		if a := s.Prefix.Addr(); a.Is4() {
			bits := setBits + uint32(s.Prefix.Bits())
			keys = append(keys, bpf.SteerSrc4Key{Prefixlen: bits, Set: s.Set, Ip: a.As4()})
			ordinals = append(ordinals, s.Ordinal)
		}
	}
	return keys, ordinals
}

func sources6(list []rule.Source) (keys []bpf.SteerSrc6Key, ordinals []uint32) {
	for _, s := range list {
		if a := s.Prefix.Addr(); a.Is6() {
			bits := setBits + uint32(s.Prefix.Bits())
			keys = append(keys, bpf.SteerSrc6Key{Prefixlen: bits, Set: s.Set, Ip: a.As16()})
			ordinals = append(ordinals, s.Ordinal)
		}
	}
	return keys, ordinals
}
