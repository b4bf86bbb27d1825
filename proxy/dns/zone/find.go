package zone

import "anyport/proxy/dns/wire"

// Kind says how a name relates to a zone.
type Kind uint8

const (
	Exact    Kind = iota // the name exists; Match.Node is it
	Wildcard             // it does not, but Match.Node is the wildcard that speaks for it (RFC 4592)
	Referral             // it is at or below the delegation at Match.Node
	Redirect             // it is below the DNAME at Match.Node (RFC 6672)
	Missing              // it does not exist
)

// Match is what Find found.
type Match struct {
	Kind Kind
	Node Node
}

// Find matches a name that is the apex or below it, as RFC 1034 section 4.3.2 and RFC 6672 section 3.2 say. At a
// delegation, DS records belong to this side (RFC 4035 section 3.1.4.1), so a query for them finds the name itself.
func (z *Zone) Find(name *wire.Name, qtype uint16) Match {
	if n := z.find(name.Wire()); n != none {
		return z.existing(n, qtype)
	}
	return z.encloser(name)
}

func (z *Zone) existing(n Node, qtype uint16) Match {
	if by := z.above(n); by != none {
		return z.hidden(by)
	}
	if z.flags(n)&isCut != 0 && qtype != wire.TypeDS {
		return Match{Referral, n}
	}
	return Match{Exact, n}
}

// encloser judges a name that is not in the zone by its closest encloser: the longest suffix that is.
func (z *Zone) encloser(name *wire.Name) Match {
	n := none
	for i := 1; n == none; i++ {
		n = z.find(name.Suffix(i))
	}
	if by := z.above(n); by != none {
		return z.hidden(by)
	}
	if z.flags(n)&(isCut|isDNAME) != 0 {
		return z.hidden(n)
	}
	if w := z.wildcard(n); w != none {
		return Match{Wildcard, w}
	}
	return Match{Missing, n}
}

// hidden is the match of a name below a delegation or a DNAME; what is both delegates.
func (z *Zone) hidden(by Node) Match {
	if z.flags(by)&isCut != 0 {
		return Match{Referral, by}
	}
	return Match{Redirect, by}
}
