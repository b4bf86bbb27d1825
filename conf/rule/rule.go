// Package rule decides which rule of a set a packet belongs to.
//
// A [Set] holds the served prefixes and the rules as their user wrote them. [Compile] flattens it into a [Table] of
// plain arrays: addresses lead to lists of port intervals, an interval to a row, a row and the source address to an
// action. The kernel's maps are filled from these arrays and [Table.Lookup] walks the same ones in user space, so the
// two cannot disagree about precedence.
//
// Precedence, best first: longest destination prefix, narrowest port range, a rule for one protocol before a rule for
// both, longest source prefix. A source that no rule admits falls to the next best rule, and with none left to the
// default of the longest served prefix: refuse (sealed) or pass (open). A rule without prefixes ranks below every rule
// with one. Two rules that no step can tell apart are a tie, which Compile refuses. Port 0 of a served prefix is always
// refused.
//
// How Compile goes about it: every prefix of the set becomes a node of a tree. A node's own rules are swept over the
// ports, which cuts them into segments with a stack of rules each, best first; the stacks are laid on those of the node
// above, so that what a stack does not decide is inherited (tree.go, sweep.go, layer.go). Only then sources are looked
// at: a stack becomes one longest-prefix table of sources that names the winner of each (resolve.go). Lists, rows,
// source sets and actions that are equal are stored once (intern.go).
//
// The package needs no kernel and no socket.
package rule

import (
	"fmt"
	"net/netip"
)

// Protocol is an IP protocol number (RFC 5237), or Both.
type Protocol uint8

const (
	Both Protocol = 0
	TCP  Protocol = 6
	UDP  Protocol = 17
)

// String returns "tcp", "udp" or "tcp+udp".
func (p Protocol) String() string {
	switch p {
	case TCP:
		return "tcp"
	case UDP:
		return "udp"
	case Both:
		return "tcp+udp"
	}
	return fmt.Sprintf("protocol(%d)", uint8(p))
}

// Verdict is what happens to a packet. The zero value refuses, so that a table that was never filled is sealed.
type Verdict uint8

const (
	// Refuse answers TCP with a RST and UDP with an ICMP port unreachable.
	Refuse Verdict = iota
	// Pass leaves the packet to the kernel's normal socket lookup.
	Pass
	// Steer hands the packet to the rule's service.
	Steer
)

// String returns "refuse", "pass" or "steer".
func (v Verdict) String() string {
	switch v {
	case Refuse:
		return "refuse"
	case Pass:
		return "pass"
	case Steer:
		return "steer"
	}
	return fmt.Sprintf("verdict(%d)", uint8(v))
}

// PortRange is a range of ports, both ends included. Port 0 is never part of one.
type PortRange struct {
	First, Last uint16
}

// Contains reports whether port lies in the range.
func (r PortRange) Contains(port uint16) bool { return r.First <= port && port <= r.Last }

// Width returns the number of ports in the range: 1 to 65,535.
func (r PortRange) Width() int { return int(r.Last) - int(r.First) + 1 }

// String returns "22" or "2200-2299".
func (r PortRange) String() string {
	if r.First == r.Last {
		return fmt.Sprint(r.First)
	}
	return fmt.Sprintf("%d-%d", r.First, r.Last)
}

// NoService is the Fallback of a rule that has none.
const NoService = ^uint16(0)

// Rule matches packets and says what happens to them.
type Rule struct {
	Name     string         // unique in its Set, 1 to 63 bytes; the rule's counters keep to it across generations
	Protocol Protocol       // Both is the zero value
	Prefixes []netip.Prefix // masked; nil matches every served prefix and ranks below every rule that has one
	Ports    []PortRange    // sorted, disjoint, after exclusions; nil is 1-65535; neighbours that touch stay two ranges
	From     []netip.Prefix // masked; nil is 0.0.0.0/0 and ::/0
	Verdict  Verdict
	Service  uint16 // Steer only: the service whose socket gets the packet
	Fallback uint16 // Steer only: the service to try when Service has no socket, or NoService
	Rate     Rate   // Steer only: of new TCP connections
}

// Prefix is a prefix that is served.
type Prefix struct {
	netip.Prefix      // masked
	Open         bool // unclaimed ports pass to the host's own sockets; sealed otherwise
}

// Set is one whole rule set: what one generation is compiled from.
type Set struct {
	Prefixes []Prefix // may nest; the longest one that contains an address gives the default
	Rules    []Rule
}

// What a [Decision] and an [Action] say in place of a rule's index when no rule decided.
const (
	Sealed  = -1 // the address is served and sealed, or the port is 0: refused
	Open    = -2 // the address is served and open: passed
	Outside = -3 // the address is not served: passed
)

// RuleName returns the name of rule i, or "(sealed)", "(open)" or "(outside)" for the numbers that stand for no rule.
func (s Set) RuleName(i int) string {
	switch i {
	case Sealed:
		return "(sealed)"
	case Open:
		return "(open)"
	case Outside:
		return "(outside)"
	}
	return s.Rules[i].Name
}
