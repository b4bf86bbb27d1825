package rule

import (
	"fmt"
	"net/netip"
)

// InvalidError says that a rule cannot be understood, whatever the rest of the set says.
type InvalidError struct {
	Rule   int // index in Set.Rules
	Reason string
}

func (e *InvalidError) Error() string { return fmt.Sprintf("rule %d: %s", e.Rule, e.Reason) }

// PrefixError says that a served prefix cannot be understood or is listed twice.
type PrefixError struct {
	Index  int // in Set.Prefixes
	Prefix netip.Prefix
	Reason string
}

func (e *PrefixError) Error() string { return fmt.Sprintf("served prefix %s: %s", e.Prefix, e.Reason) }

// OutsideError says that a rule's prefix lies in no served prefix, so that nothing could ever match it.
type OutsideError struct {
	Rule   int // index in Set.Rules
	Prefix netip.Prefix
}

func (e *OutsideError) Error() string {
	return fmt.Sprintf("rule %d: prefix %s is not inside a served prefix", e.Rule, e.Prefix)
}

// TieError says that no step of the precedence tells two rules apart: same destination prefix, protocol and source
// prefix, ranges of the same width with ports in common. A pair of rules is reported once, at the first place found.
type TieError struct {
	A, B     int          // indices in Set.Rules, A < B
	Prefix   netip.Prefix // the zero Prefix: both rules have none
	Protocol Protocol
	Ports    PortRange    // what the two ranges have in common
	Source   netip.Prefix // 0.0.0.0/0 or ::/0 for a rule without From
}

func (e *TieError) Error() string {
	where := "every served prefix"
	if e.Prefix.IsValid() {
		where = e.Prefix.String()
	}
	return fmt.Sprintf("rules %d and %d tie: %s ports %s of %s from %s", e.A, e.B, e.Protocol, e.Ports, where, e.Source)
}

// TooLargeError says that the flattened table would pass one of the bounds of this package, such as [MaxIntervals].
type TooLargeError struct {
	What  string // "port intervals"
	Limit int
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("rule set too large: it flattens to more than %d %s", e.Limit, e.What)
}
