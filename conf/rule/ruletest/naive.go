// Package ruletest makes random rule sets and packets, and decides about them by the text of the precedence alone: one
// linear pass, no code shared with the compiler. Tests hold the compiled table and the kernel's program against it.
//
// Everything is a pure function of the generator that is passed in, so that a failure is repeated from its seed.
package ruletest

import (
	"net/netip"

	"anyport/conf/rule"
)

// Naive decides about a packet of protocol p, TCP or UDP, from src to dst. Both addresses are of one family, not
// IPv4-mapped and without a zone.
func Naive(set rule.Set, p rule.Protocol, src netip.Addr, dst netip.AddrPort) rule.Decision {
	served := -1 // length of the longest served prefix
	decision := rule.Decision{Verdict: rule.Pass, Rule: rule.Outside}
	for _, s := range set.Prefixes {
		if s.Contains(dst.Addr()) && s.Bits() > served {
			served = s.Bits()
			decision = rule.Decision{Verdict: rule.Refuse, Rule: rule.Sealed}
			if s.Open {
				decision = rule.Decision{Verdict: rule.Pass, Rule: rule.Open}
			}
		}
	}
	switch {
	case served < 0:
		return decision
	case dst.Port() == 0:
		return rule.Decision{Verdict: rule.Refuse, Rule: rule.Sealed}
	}
	var best rank
	for i, r := range set.Rules {
		if k, ok := rankOf(r, p, src, dst); ok && (decision.Rule < 0 || k.beats(best)) {
			best = k
			decision = rule.Decision{Verdict: r.Verdict, Rule: i}
		}
	}
	return decision
}

// rank is what the precedence compares, in its order.
type rank struct {
	prefixBits int // -1: the rule has no prefix
	width      int
	specific   bool
	sourceBits int
}

func (a rank) beats(b rank) bool {
	if a.prefixBits != b.prefixBits {
		return a.prefixBits > b.prefixBits
	}
	if a.width != b.width {
		return a.width < b.width
	}
	if a.specific != b.specific {
		return a.specific
	}
	return a.sourceBits > b.sourceBits
}

// rankOf returns the rank of a rule for a packet, and false if the rule does not match it.
func rankOf(r rule.Rule, p rule.Protocol, src netip.Addr, dst netip.AddrPort) (rank, bool) {
	if r.Protocol != rule.Both && r.Protocol != p {
		return rank{}, false
	}
	k := rank{prefixBits: -1, width: -1, specific: r.Protocol != rule.Both, sourceBits: -1}
	for _, prefix := range r.Prefixes {
		if prefix.Contains(dst.Addr()) {
			k.prefixBits = max(k.prefixBits, prefix.Bits())
		}
	}
	if r.Prefixes != nil && k.prefixBits < 0 {
		return rank{}, false
	}
	for _, ports := range portsOf(r) {
		if ports.First <= dst.Port() && dst.Port() <= ports.Last {
			k.width = int(ports.Last) - int(ports.First) + 1
		}
	}
	for _, from := range fromOf(r) {
		if from.Contains(src) {
			k.sourceBits = max(k.sourceBits, from.Bits())
		}
	}
	return k, k.width > 0 && k.sourceBits >= 0
}

func portsOf(r rule.Rule) []rule.PortRange {
	if r.Ports == nil {
		return []rule.PortRange{{First: 1, Last: 65535}}
	}
	return r.Ports
}

func fromOf(r rule.Rule) []netip.Prefix {
	if r.From == nil {
		return []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
	}
	return r.From
}
