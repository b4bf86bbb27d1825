package rule

import (
	"fmt"
	"net/netip"
)

// maxName is the longest name of a rule in bytes: 64 with a final zero byte, in the kernel's map of names.
const maxName = 63

// validate returns the faults of each prefix and each rule alone, and which rules have none.
func validate(set *Set) (faults []error, valid []bool) {
	faults = validateServed(set.Prefixes)
	valid = make([]bool, len(set.Rules))
	names := make(map[string]int, len(set.Rules))
	for i := range set.Rules {
		r := &set.Rules[i]
		reason := r.fault()
		if first, taken := names[r.Name]; reason == "" && taken {
			reason = fmt.Sprintf("name %q is taken by rule %d", r.Name, first)
		} else if !taken {
			names[r.Name] = i
		}
		if valid[i] = reason == ""; !valid[i] {
			faults = append(faults, &InvalidError{Rule: i, Reason: reason})
		}
	}
	return faults, valid
}

func validateServed(served []Prefix) []error {
	var faults []error
	seen := make(map[netip.Prefix]bool, len(served))
	for i, p := range served {
		reason := prefixFault(p.Prefix)
		if reason == "" && seen[p.Prefix] {
			reason = "is listed twice"
		}
		seen[p.Prefix] = true
		if reason != "" {
			faults = append(faults, &PrefixError{Index: i, Prefix: p.Prefix, Reason: reason})
		}
	}
	return faults
}

// fault returns what is wrong with the rule by itself, or "".
func (r *Rule) fault() string {
	if reason := r.headFault(); reason != "" {
		return reason
	}
	for _, list := range []struct {
		what     string
		prefixes []netip.Prefix
	}{{"prefix", r.Prefixes}, {"from", r.From}} {
		if reason := listFault(list.prefixes); reason != "" {
			return list.what + " " + reason
		}
	}
	if reason := portsFault(r.Ports); reason != "" {
		return "ports " + reason
	}
	return ""
}

// headFault checks what is not a list.
func (r *Rule) headFault() string {
	switch {
	case r.Name == "":
		return "has no name"
	case len(r.Name) > maxName:
		return fmt.Sprintf("name is longer than %d bytes", maxName)
	case r.Protocol != Both && r.Protocol != TCP && r.Protocol != UDP:
		return fmt.Sprintf("unknown protocol %d", r.Protocol)
	case r.Verdict > Steer:
		return fmt.Sprintf("unknown verdict %d", r.Verdict)
	case r.Verdict == Steer && r.Service == NoService:
		return "steers to no service"
	case r.Verdict != Steer && r.Rate != Rate{}:
		return "has a rate and does not steer"
	}
	if reason := r.Rate.fault(); reason != "" {
		return "rate's " + reason
	}
	return ""
}

// listFault refuses an empty list that is not nil: it would admit everything where its writer meant nothing.
func listFault(prefixes []netip.Prefix) string {
	if prefixes != nil && len(prefixes) == 0 {
		return "list is empty"
	}
	for _, p := range prefixes {
		if reason := prefixFault(p); reason != "" {
			return p.String() + " " + reason
		}
	}
	return ""
}

func prefixFault(p netip.Prefix) string {
	switch {
	case !p.IsValid():
		return "is not a prefix"
	case p.Addr().Is4In6():
		return "is an IPv4-mapped prefix"
	case p != p.Masked():
		return "has host bits set"
	}
	return ""
}

func portsFault(ports []PortRange) string {
	if ports != nil && len(ports) == 0 {
		return "list is empty"
	}
	last := uint16(0)
	for _, r := range ports {
		switch {
		case r.First == 0:
			return "contain port 0"
		case r.First > r.Last:
			return fmt.Sprintf("%s end before they begin", r)
		case r.First <= last:
			return fmt.Sprintf("%s are out of order or overlap", r)
		}
		last = r.Last
	}
	return ""
}
