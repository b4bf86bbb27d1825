package steering

import (
	"fmt"

	"anyport/bpf"
	"anyport/conf/rule"
)

// Outcome says what became of a packet, or why a service did not get it.
type Outcome uint8

// Each packet has exactly one of the first five. Each socket that was tried in vain, or a rate that let none be tried,
// adds one of the others, so that they come on top of Fallback and Refused.
const (
	Steered       = Outcome(bpf.SteerOutcomeOUTCOME_STEERED)  // the rule's service has it
	Fallback      = Outcome(bpf.SteerOutcomeOUTCOME_FALLBACK) // the fallback service has it
	Refused       = Outcome(bpf.SteerOutcomeOUTCOME_REFUSED)  // RST or ICMP port unreachable
	Passed        = Outcome(bpf.SteerOutcomeOUTCOME_PASSED)   // left to the kernel's normal lookup
	Taken         = Outcome(bpf.SteerOutcomeOUTCOME_TAKEN)    // a foreign program had chosen a socket before (EEXIST)
	Empty         = Outcome(bpf.SteerOutcomeOUTCOME_EMPTY)    // the slot has no socket
	WrongFamily   = Outcome(bpf.SteerOutcomeOUTCOME_FAMILY)   // EAFNOSUPPORT: not a socket for this IP version
	WrongProtocol = Outcome(bpf.SteerOutcomeOUTCOME_PROTOCOL) // EPROTOTYPE: a TCP socket for UDP, or the reverse
	WrongState    = Outcome(bpf.SteerOutcomeOUTCOME_STATE)    // ESOCKTNOSUPPORT: a socket that has been connected
	OtherError    = Outcome(bpf.SteerOutcomeOUTCOME_OTHER)    // any other error of bpf_sk_assign
	Limited       = Outcome(bpf.SteerOutcomeOUTCOME_LIMITED)  // the source is over the rule's rate; no socket was tried
	Outcomes      = Outcome(bpf.SteerOutcomeOUTCOMES)         // how many there are
)

var outcomeNames = [Outcomes]string{
	Steered: "steered", Fallback: "fallback", Refused: "refused", Passed: "passed", Taken: "taken",
	Empty: "empty_slot", WrongFamily: "wrong_family", WrongProtocol: "wrong_protocol", WrongState: "wrong_state",
	OtherError: "other_error", Limited: "rate_limited",
}

// String returns a word for messages and metric labels: "steered", "empty_slot".
func (o Outcome) String() string {
	if o < Outcomes {
		return outcomeNames[o]
	}
	return fmt.Sprintf("outcome(%d)", uint8(o))
}

// IsFinal reports whether o tells what became of a packet, and not why a socket did not get it.
func (o Outcome) IsFinal() bool { return o <= Taken }

// Counters hold a number for each Outcome.
type Counters [Outcomes]uint64

// Packets returns how many packets were judged: the sum of the final outcomes.
func (c *Counters) Packets() uint64 {
	var n uint64
	for o := range Outcomes {
		if o.IsFinal() {
			n += c[o]
		}
	}
	return n
}

// add adds what one CPU counted.
func (c *Counters) add(cpu *bpf.SteerCounter) {
	for o := range c {
		c[o] += cpu.N[o]
	}
}

// verdictOutcome is the outcome that each verdict asks for.
var verdictOutcome = [...]Outcome{rule.Refuse: Refused, rule.Pass: Passed, rule.Steer: Steered}
