package rule

import "fmt"

// Cause is the step of the precedence at which a rule lost.
type Cause uint8

const (
	Won           Cause = iota // it did not lose
	NotAdmitted                // it does not admit the source
	ShorterPrefix              // its destination prefix is shorter, or it has none
	WiderRange                 // its port range is wider
	Neutral                    // it is for both protocols
	ShorterSource              // its source prefix is shorter
	Fallback                   // it is no rule but the default, which any rule outranks
)

// Loss says why a candidate lost, and to what. The zero value says that it won.
type Loss struct {
	Cause         Cause
	Match, Better Match // the loser's, and that of the rule that it lost to, which is not set for NotAdmitted and Fallback
}

// newLoss returns why m lost to better.
func newLoss(m, better Match) Loss {
	l := Loss{Match: m, Better: better}
	switch {
	case m.Prefix != better.Prefix:
		l.Cause = ShorterPrefix
	case m.Ports.Width() != better.Ports.Width():
		l.Cause = WiderRange
	case m.Protocol != better.Protocol:
		l.Cause = Neutral
	default:
		l.Cause = ShorterSource
	}
	return l
}

// String returns "shorter prefix (198.18.0.0/20 < 198.18.1.0/24)" and the like, and "wins" for the zero value.
func (l Loss) String() string {
	switch l.Cause {
	case Won:
		return "wins"
	case NotAdmitted:
		return "source not admitted"
	case ShorterPrefix:
		if !l.Match.Prefix.IsValid() {
			return fmt.Sprintf("no prefix (< %s)", l.Better.Prefix)
		}
		return fmt.Sprintf("shorter prefix (%s < %s)", l.Match.Prefix, l.Better.Prefix)
	case WiderRange:
		return fmt.Sprintf("wider port range (%s > %s)", l.Match.Ports, l.Better.Ports)
	case Neutral:
		return fmt.Sprintf("protocol-neutral (%s < %s)", l.Match.Protocol, l.Better.Protocol)
	case ShorterSource:
		return fmt.Sprintf("shorter source prefix (%s < %s)", l.Match.Source, l.Better.Source)
	case Fallback:
		return "default, asked last"
	}
	return fmt.Sprintf("cause(%d)", uint8(l.Cause))
}
