package rule

import "cmp"

// everyPort is the Ports of a rule that names none.
var everyPort = []PortRange{{First: 1, Last: 65535}}

// ports returns the rule's ranges.
func (r *Rule) ports() []PortRange {
	if r.Ports == nil {
		return everyPort
	}
	return r.Ports
}

// covers reports whether the rule is for packets of p, TCP or UDP.
func (r *Rule) covers(p Protocol) bool { return r.Protocol == Both || r.Protocol == p }

// claim is one range of one rule, at one prefix.
type claim struct {
	PortRange
	rule int32
	rank int32 // as rank returns it
}

// rank orders claims of one prefix that contain the same port, the best lowest: narrowest range, then a rule for one
// protocol before a rule for both. Claims of the same rank are a group, in which only the source decides.
func rank(ports PortRange, p Protocol) int32 {
	n := int32(2 * ports.Width())
	if p == Both {
		n++
	}
	return n
}

// compare orders claims by rank and within a group by rule.
func (c claim) compare(d claim) int {
	return cmp.Or(cmp.Compare(c.rank, d.rank), cmp.Compare(c.rule, d.rule))
}

// claims appends the ranges of those rules that are for packets of p, TCP or UDP.
func claims(to []claim, set *Set, rules []int32, p Protocol) []claim {
	for _, i := range rules {
		r := &set.Rules[i]
		if !r.covers(p) {
			continue
		}
		for _, ports := range r.ports() {
			to = append(to, claim{ports, i, rank(ports, r.Protocol)})
		}
	}
	return to
}
