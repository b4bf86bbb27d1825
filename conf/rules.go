package conf

import (
	"fmt"
	"net/netip"
	"strconv"

	"anyport/conf/rule"
)

// RuleSet returns what the configuration claims: rule i is Routes[i], and the rules after them are DNS in order.
// Callers may append rules of their own.
func (c *Config) RuleSet() rule.Set {
	set := rule.Set{}
	for _, p := range c.Prefixes {
		set.Prefixes = append(set.Prefixes, rule.Prefix{Prefix: p})
	}
	for _, p := range c.OpenPrefixes {
		set.Prefixes = append(set.Prefixes, rule.Prefix{Prefix: p, Open: true})
	}
	for _, r := range c.Routes {
		claim := r.rule()
		claim.Rate = c.rate(r)
		set.Rules = append(set.Rules, claim)
	}
	for _, s := range c.DNS {
		set.Rules = append(set.Rules, s.rule())
	}
	return set
}

// RuleLine returns the line of the file that rule i of RuleSet stands on.
func (c *Config) RuleLine(i int) int {
	if i < len(c.Routes) {
		return c.Routes[i].Line
	}
	return c.DNS[i-len(c.Routes)].Line
}

// rule returns what the route claims.
func (r Route) rule() rule.Rule {
	return rule.Rule{
		Name:     r.Name,
		Protocol: r.Protocol,
		Prefixes: r.Prefixes,
		Ports:    r.Ports,
		From:     r.From,
		Verdict:  r.Action,
		Service:  r.Service,
		Fallback: rule.NoService,
	}
}

// judge compiles the rules, and tells what the compiler has against them in terms of the file.
type judge struct {
	*decoder
	draft *draft
	sound []int // rules of the compiled set -> rules of RuleSet: those whose matches could be read
}

// checkRules reports rules that lie outside the prefixes, tie, or can never match.
func (d *decoder) checkRules(c *draft) {
	j := &judge{decoder: d, draft: c}
	table, err := rule.Compile(j.soundSet())
	if err == nil {
		j.warnNeverMatch(table)
		return
	}
	j.blame(err)
}

// soundSet returns the rule set without the rules that already have a fault, numbered instead of named, so that the
// compiler has nothing to say that was said before.
func (j *judge) soundSet() rule.Set {
	set := j.draft.RuleSet()
	rules := set.Rules
	set.Rules = nil
	for i, r := range rules {
		if j.reading(i).good("protocol", "prefix", "port", "ports", "from", "action") {
			r.Name = strconv.Itoa(i)
			set.Rules = append(set.Rules, r)
			j.sound = append(j.sound, i)
		}
	}
	return set
}

// reading returns the section of rule i of RuleSet.
func (j *judge) reading(i int) reading {
	if i < len(j.draft.routes) {
		return j.draft.routes[i]
	}
	return j.draft.dns[i-len(j.draft.routes)]
}

// name returns how the file and its reader call rule i of RuleSet: route "ssh".
func (j *judge) name(i int) string {
	if i < len(j.draft.Routes) {
		return fmt.Sprintf("route %q", j.draft.Routes[i].Name)
	}
	return fmt.Sprintf("dns %q", j.draft.DNS[i-len(j.draft.Routes)].Name)
}

// place returns the header of rule i of RuleSet.
func (j *judge) place(i int) value {
	s := j.reading(i)
	return value{key: s.path, line: s.line}
}

// blame reports each error of the compiler where it belongs.
func (j *judge) blame(err error) {
	switch e := err.(type) {
	case interface{ Unwrap() []error }:
		for _, err := range e.Unwrap() {
			j.blame(err)
		}
	case *rule.TieError:
		j.tie(e)
	case *rule.OutsideError:
		j.outside(e)
	case *rule.PrefixError: // one that is both sealed and open: checkServed has said so
	default:
		j.fault(value{line: 1}, "", "%v", err)
	}
}

// tie reports two rules that nothing tells apart at the second one.
func (j *judge) tie(e *rule.TieError) {
	a, b := j.sound[e.A], j.sound[e.B]
	where := "every served prefix"
	if e.Prefix.IsValid() {
		where = e.Prefix.String()
	}
	if e.Source.IsValid() && e.Source.Bits() > 0 {
		where += " from " + e.Source.String()
	}
	j.fault(j.place(b), "give one of them a longer prefix, fewer ports, one protocol or a longer source",
		"%s (line %d) and %s (line %d) tie for %s ports %s of %s",
		j.name(a), j.place(a).line, j.name(b), j.place(b).line, e.Protocol, e.Ports, where)
}

// outside reports a prefix of a rule, unless the served prefix that it belongs to may be one that cannot be read.
func (j *judge) outside(e *rule.OutsideError) {
	if !j.draft.top.good("prefixes", "open_prefixes") {
		return
	}
	each(j.reading(j.sound[e.Rule]).at("prefix"), parsePrefix, func(item value, p netip.Prefix) {
		if p == e.Prefix {
			j.fault(item, "add it to prefixes or open_prefixes", "%s lies in no served prefix", p)
		}
	})
}

func (j *judge) warnNeverMatch(table *rule.Table) {
	for _, i := range table.NeverMatch() {
		at := j.place(j.sound[i])
		j.warn(at, "", "%s can never match: better rules claim all of its packets", j.name(j.sound[i]))
	}
}
