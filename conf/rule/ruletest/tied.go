package ruletest

import (
	"net/netip"
	"slices"

	"anyport/conf/rule"
)

// Tied reports whether two rules tie: same destination prefix, protocol and source prefix, equal widths, intersecting
// ports. A source prefix counts where a packet can have it, at destinations of its family.
func Tied(a, b rule.Rule) bool {
	return a.Protocol == b.Protocol && portsTie(a, b) && placesTie(a, b)
}

func portsTie(a, b rule.Rule) bool {
	for _, p := range portsOf(a) {
		for _, q := range portsOf(b) {
			if p.Last-p.First == q.Last-q.First && p.First <= q.Last && q.First <= p.Last {
				return true
			}
		}
	}
	return false
}

func placesTie(a, b rule.Rule) bool {
	for _, from := range fromOf(a) {
		if !slices.Contains(fromOf(b), from) {
			continue
		}
		if a.Prefixes == nil && b.Prefixes == nil {
			return true
		}
		if slices.ContainsFunc(a.Prefixes, func(p netip.Prefix) bool {
			return p.Addr().Is4() == from.Addr().Is4() && slices.Contains(b.Prefixes, p)
		}) {
			return true
		}
	}
	return false
}
