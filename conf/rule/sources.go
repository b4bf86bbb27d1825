package rule

import (
	"math"
	"net/netip"
	"slices"
)

// sources is what the rules of a set say about the sources of one address family, in numbers: a prefix is its rank in
// the sorted list of all of them, and equal From lists are one list.
type sources struct {
	family   uint32         // as family returns it
	prefixes []netip.Prefix // by rank; rank 0 is 0.0.0.0/0 or ::/0
	lists    *runs[uint32]  // of ranks, sorted
	from     []List         // by rule: its part of lists.items; Len 0: the rule admits no source of this family
}

// newSources ranks the From prefixes of all's family of the valid rules. A rule that is not valid admits no source.
func newSources(set *Set, valid []bool, all netip.Prefix, b *budget) *sources {
	s := &sources{
		family:   family(all),
		prefixes: []netip.Prefix{all},
		lists:    newRuns(b, "source prefixes in the rules", math.MaxInt32, number[uint32]),
		from:     make([]List, len(set.Rules)),
	}
	ranks := s.rank(set, valid)
	everything := []uint32{0}
	var list []uint32
	for i := range set.Rules {
		switch from := set.Rules[i].From; {
		case !valid[i]:
		case from == nil:
			s.from[i], _ = s.lists.add(everything)
		default:
			list = s.ranksOf(list[:0], from, ranks)
			s.from[i], _ = s.lists.add(list)
		}
	}
	return s
}

// rank fills s.prefixes and returns the rank of each.
func (s *sources) rank(set *Set, valid []bool) map[netip.Prefix]uint32 {
	ranks := map[netip.Prefix]uint32{s.prefixes[0]: 0}
	for i := range set.Rules {
		if !valid[i] {
			continue
		}
		for _, p := range set.Rules[i].From {
			if _, known := ranks[p]; !known && s.ours(p) {
				ranks[p] = 0
				s.prefixes = append(s.prefixes, p)
			}
		}
	}
	slices.SortFunc(s.prefixes, netip.Prefix.Compare)
	for i, p := range s.prefixes {
		ranks[p] = uint32(i)
	}
	return ranks
}

// ranksOf appends the sorted ranks of those prefixes that are of the family.
func (s *sources) ranksOf(list []uint32, from []netip.Prefix, ranks map[netip.Prefix]uint32) []uint32 {
	for _, p := range from {
		if s.ours(p) {
			list = append(list, ranks[p])
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// ours reports whether p is of the family.
func (s *sources) ours(p netip.Prefix) bool { return family(p) == s.family }

// list returns the ranks of a rule's From list.
func (s *sources) list(rule int32) []uint32 { return s.lists.at(s.from[rule]) }

// admitsNone reports whether no source of the family can match the rule.
func (s *sources) admitsNone(rule int32) bool { return s.from[rule].Len == 0 }

// admitsAll reports whether every source of the family matches the rule.
func (s *sources) admitsAll(rule int32) bool { return !s.admitsNone(rule) && s.list(rule)[0] == 0 }

// contains reports whether the prefix of rank outer contains that of rank inner.
func (s *sources) contains(outer, inner uint32) bool {
	return encloses(s.prefixes[outer], s.prefixes[inner])
}

// encloses reports whether inner lies in outer, which may be the same.
func encloses(outer, inner netip.Prefix) bool {
	return outer.Bits() <= inner.Bits() && outer.Contains(inner.Addr())
}
