package conf

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"anyport/conf/rule"
)

var allPorts = rule.PortRange{First: 1, Last: 65535}

// ports is a port list as decoded: what [rule.Rule.Ports] takes, so nil is every port.
type ports []rule.PortRange

// parsePorts reads "all" or a comma-separated list of ports, ranges and exclusions: "22,2200-2299", "1-65535,!25".
// Ranges that touch stay apart, since precedence goes by the width of a range as written.
func parsePorts(text string) (ports, *finding) {
	var included, excluded ports
	for term := range strings.SplitSeq(text, ",") {
		term, negated := strings.CutPrefix(strings.TrimSpace(term), "!")
		r, f := parseTerm(term)
		if f != nil {
			return nil, f
		}
		if negated {
			excluded = append(excluded, r)
		} else {
			included = append(included, r)
		}
	}
	if len(included) == 0 {
		return nil, refuse(`write "1-65535,`+text+`"`, "%q excludes ports from nothing", text)
	}
	for _, list := range []ports{included, excluded} {
		if f := list.sortDisjoint(); f != nil {
			return nil, f
		}
	}
	return included.without(excluded)
}

// without returns the ranges with the excluded ports cut out. Both lists are sorted and disjoint.
func (p ports) without(excluded ports) (ports, *finding) {
	var left ports
	for _, r := range p {
		whole := true
		for len(excluded) > 0 && excluded[0].First <= r.Last && whole {
			x := excluded[0]
			if x.First < r.First || r.Last < x.Last {
				break
			}
			if r.First < x.First {
				left = append(left, rule.PortRange{First: r.First, Last: x.First - 1})
			}
			whole = x.Last < r.Last
			r.First = x.Last + 1 // wraps only where nothing of r is left
			excluded = excluded[1:]
		}
		if whole {
			left = append(left, r)
		}
	}
	return left.checked(excluded)
}

// checked returns what exclusions have left, given the exclusions that lie in no range.
func (p ports) checked(strays ports) (ports, *finding) {
	switch {
	case len(strays) > 0:
		return nil, refuse("exclude only parts of a range that the list has", "!%s is not part of one range", strays[0])
	case len(p) == 0:
		return nil, refuse("", "the exclusions leave no port")
	case p[0] == allPorts:
		return nil, nil
	}
	return p, nil
}

// sortDisjoint sorts the ranges in place and reports two that overlap.
func (p ports) sortDisjoint() *finding {
	slices.SortFunc(p, func(a, b rule.PortRange) int { return cmp.Compare(a.First, b.First) })
	for i := 1; i < len(p); i++ {
		if p[i].First <= p[i-1].Last {
			return refuse("list every port once", "%s and %s overlap", p[i-1], p[i])
		}
	}
	return nil
}

func parseTerm(text string) (rule.PortRange, *finding) {
	if text == "all" {
		return allPorts, nil
	}
	return parsePortRange(text)
}

// parsePortRange reads "22" or "2200-2299".
func parsePortRange(text string) (rule.PortRange, *finding) {
	from, to, isRange := strings.Cut(text, "-")
	if !isRange {
		to = from
	}
	first, f := parsePort(strings.TrimSpace(from))
	if f != nil {
		return rule.PortRange{}, f
	}
	last, f := parsePort(strings.TrimSpace(to))
	if f != nil {
		return rule.PortRange{}, f
	}
	if last < first {
		return rule.PortRange{}, refuse(fmt.Sprintf(`write "%d-%d"`, last, first), "%q runs backwards", text)
	}
	return rule.PortRange{First: first, Last: last}, nil
}

func parsePort(text string) (uint16, *finding) {
	n, err := strconv.ParseUint(text, 10, 16)
	switch {
	case err != nil:
		return 0, refuse("ports are 1 to 65535", "%q is no port", text)
	case n == 0:
		return 0, refuse("ports are 1 to 65535", "port 0 cannot be used")
	}
	return uint16(n), nil
}
