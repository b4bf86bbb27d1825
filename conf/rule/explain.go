package rule

import (
	"net/netip"
	"slices"
)

// Candidate is a rule that matches a packet's destination, port and protocol, or the default.
type Candidate struct {
	Rule      int // index in Set.Rules, or Sealed, Open or Outside
	Verdict   Verdict
	Match          // of the default: its served prefix, and nothing else
	Inherited bool // a longer prefix of the set, served or of a rule, contains the destination
	Lost      Loss
}

// Explain returns what Lookup decides between: the winner first, then the other rules that match the packet but for its
// source, best first, and the default last unless it won. A rule that admits the source lost to the one above it that
// does. Addresses are taken as Lookup takes them. Explain looks at every rule: it is for people.
func (t *Table) Explain(p Protocol, src netip.Addr, dst netip.AddrPort) []Candidate {
	src, dst = plain(src), netip.AddrPortFrom(plain(dst.Addr()), dst.Port())
	served := t.served(dst.Addr())
	if !served.IsValid() {
		return []Candidate{{Rule: Outside, Verdict: Pass}}
	}
	around := placesAround(&t.set, dst.Addr())
	last := t.defaultCandidate(served, dst.Port())
	last.Inherited = around.Bits() > served.Bits()
	list := t.candidates(p, src, dst)
	for i := range list {
		place := list[i].Prefix
		if !place.IsValid() {
			place = served.Prefix
		}
		list[i].Inherited = around.Bits() > place.Bits()
	}
	return judge(list, last)
}

// candidates returns the rules that match but for the source, in the order of precedence. None match port 0.
func (t *Table) candidates(p Protocol, src netip.Addr, dst netip.AddrPort) []Candidate {
	var list []Candidate
	for i := range t.set.Rules {
		r := &t.set.Rules[i]
		if m, ok := r.match(p, src, dst); ok {
			list = append(list, Candidate{Rule: i, Verdict: r.Verdict, Match: m})
		}
	}
	slices.SortStableFunc(list, func(a, b Candidate) int { return a.compare(b.Match) })
	return list
}

// judge fills in who lost why, and puts the winner first and the default last.
func judge(list []Candidate, last Candidate) []Candidate {
	won := -1 // the candidate above the one at hand that admits the source
	winner := -1
	for i := range list {
		switch {
		case !list[i].Admits():
			list[i].Lost = Loss{Cause: NotAdmitted, Match: list[i].Match}
			continue
		case won < 0:
			winner = i
		default:
			list[i].Lost = newLoss(list[i].Match, list[won].Match)
		}
		won = i
	}
	if winner < 0 {
		return slices.Insert(list, 0, last)
	}
	first := list[winner]
	copy(list[1:winner+1], list[:winner])
	list[0] = first
	last.Lost = Loss{Cause: Fallback, Match: last.Match}
	return append(list, last)
}

// served returns the longest served prefix that contains addr, or the zero Prefix.
func (t *Table) served(addr netip.Addr) Prefix {
	var best Prefix
	for _, p := range t.set.Prefixes {
		if p.Contains(addr) && (!best.IsValid() || p.Bits() > best.Bits()) {
			best = p
		}
	}
	return best
}

// defaultCandidate returns what decides where no rule does. Port 0 is refused at an open prefix too.
func (t *Table) defaultCandidate(served Prefix, port uint16) Candidate {
	a := fallback(served.Open && port != 0)
	return Candidate{Rule: int(a.Rule), Verdict: a.Verdict, Match: Match{Prefix: served.Prefix}}
}

// placesAround returns the longest prefix of the set, served or of a rule, that contains addr.
func placesAround(set *Set, addr netip.Addr) netip.Prefix {
	var best netip.Prefix
	longer := func(p netip.Prefix) {
		if p.IsValid() && p.Bits() > best.Bits() {
			best = p
		}
	}
	for _, p := range set.Prefixes {
		if p.Contains(addr) {
			longer(p.Prefix)
		}
	}
	for i := range set.Rules {
		longer(longest(set.Rules[i].Prefixes, addr))
	}
	return best
}
