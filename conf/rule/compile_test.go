package rule_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"anyport/conf/rule"
)

// TestFaults has one set for every fault that Compile finds, and its exact message.
func TestFaults(t *testing.T) {
	const served = "serve 198.18.0.0/20\nserve 2001:db8::/48\n"
	prefix := func(addr string, bits int) netip.Prefix { return netip.PrefixFrom(netip.MustParseAddr(addr), bits) }
	for _, test := range []struct {
		set   string
		spoil func(*rule.Set) // what parseSet cannot write
		want  string
	}{
		{"a", func(s *rule.Set) { s.Rules[0].Name = "" }, "rule 0: has no name"},
		{strings.Repeat("n", 64), nil, "rule 0: name is longer than 63 bytes"},
		{"a tcp\na udp", nil, `rule 1: name "a" is taken by rule 0`},
		{"a", func(s *rule.Set) { s.Rules[0].Protocol = 132 }, "rule 0: unknown protocol 132"},
		{"a", func(s *rule.Set) { s.Rules[0].Verdict = 3 }, "rule 0: unknown verdict 3"},
		{"a", func(s *rule.Set) { s.Rules[0].Service = rule.NoService }, "rule 0: steers to no service"},
		{"a", func(s *rule.Set) { s.Rules[0].Rate = rule.Rate{Burst: 1} }, "rule 0: rate's interval is not within 1ns and 1h"},
		{"a", func(s *rule.Set) { s.Rules[0].Rate = rule.Rate{Interval: 2 * time.Hour, Burst: 1} },
			"rule 0: rate's interval is not within 1ns and 1h"},
		{"a", func(s *rule.Set) { s.Rules[0].Rate = rule.Rate{Interval: 1} },
			"rule 0: rate's burst is not within 1 and 1000000"},
		{"a", func(s *rule.Set) { s.Rules[0].Rate = rule.Rate{Interval: 1, Burst: 1, Bits4: 33} },
			"rule 0: rate's networks are not within 0 and 32, 0 and 128 bits"},
		{"a do=refuse", func(s *rule.Set) { s.Rules[0].Rate = rule.Rate{Interval: 1, Burst: 1} },
			"rule 0: has a rate and does not steer"},
		{"a prefix=198.18.1.1/24", nil, "rule 0: prefix 198.18.1.1/24 has host bits set"},
		{"a from=2001:db8::1/64", nil, "rule 0: from 2001:db8::1/64 has host bits set"},
		{"a", func(s *rule.Set) { s.Rules[0].From = []netip.Prefix{{}} }, "rule 0: from invalid Prefix is not a prefix"},
		{"a", func(s *rule.Set) { s.Rules[0].From = []netip.Prefix{prefix("::ffff:10.0.0.0", 104)} },
			"rule 0: from ::ffff:10.0.0.0/104 is an IPv4-mapped prefix"},
		{"a", func(s *rule.Set) { s.Rules[0].Prefixes = []netip.Prefix{} }, "rule 0: prefix list is empty"},
		{"a", func(s *rule.Set) { s.Rules[0].From = []netip.Prefix{} }, "rule 0: from list is empty"},
		{"a", func(s *rule.Set) { s.Rules[0].Ports = []rule.PortRange{} }, "rule 0: ports list is empty"},
		{"a ports=0-10", nil, "rule 0: ports contain port 0"},
		{"a ports=10-9", nil, "rule 0: ports 10-9 end before they begin"},
		{"a ports=1-10,10-20", nil, "rule 0: ports 10-20 are out of order or overlap"},
		{"a ports=22,21", nil, "rule 0: ports 21 are out of order or overlap"},
		{"a prefix=198.18.16.0/24", nil, "rule 0: prefix 198.18.16.0/24 is not inside a served prefix"},
		{"a prefix=198.18.0.0/19", nil, "rule 0: prefix 198.18.0.0/19 is not inside a served prefix"},
		{"a prefix=2001:db8:1::/64", nil, "rule 0: prefix 2001:db8:1::/64 is not inside a served prefix"},
		{"serve 198.18.0.0/20 open", nil, "served prefix 198.18.0.0/20: is listed twice"},
		{"serve 198.18.0.1/24", nil, "served prefix 198.18.0.1/24: has host bits set"},
		{"a", func(s *rule.Set) { s.Prefixes = append(s.Prefixes, rule.Prefix{}) },
			"served prefix invalid Prefix: is not a prefix"},
		{"a\nb", nil, "rules 0 and 1 tie: tcp+udp ports 1-65535 of every served prefix from 0.0.0.0/0"},
		{"a tcp ports=1-10 from=fd00::/8\nb tcp ports=5-14 from=fd00::/8", nil,
			"rules 0 and 1 tie: tcp ports 5-10 of every served prefix from fd00::/8"},
		{"a udp prefix=2001:db8::/64 ports=53\nb udp prefix=2001:db8::/64 ports=50,53", nil,
			"rules 0 and 1 tie: udp ports 53 of 2001:db8::/64 from ::/0"},
		{"a prefix=198.18.1.0/24 from=10.0.0.0/8\nb prefix=198.18.1.0/24 from=9.0.0.0/8,10.0.0.0/8", nil,
			"rules 0 and 1 tie: tcp+udp ports 1-65535 of 198.18.1.0/24 from 10.0.0.0/8"},
		{"a ports=1-10\nb ports=5-14\nc ports=11-20", nil,
			"rules 0 and 1 tie: tcp+udp ports 5-10 of every served prefix from 0.0.0.0/0\n" +
				"rules 1 and 2 tie: tcp+udp ports 11-14 of every served prefix from 0.0.0.0/0"},
		{"a from=0.0.0.0/0\nb", nil, "rules 0 and 1 tie: tcp+udp ports 1-65535 of every served prefix from 0.0.0.0/0"},
	} {
		set := parseSet(t, served+test.set)
		if test.spoil != nil {
			test.spoil(&set)
		}
		_, err := rule.Compile(set)
		if err == nil || err.Error() != test.want {
			t.Errorf("%q: got %v, want %s", test.set, err, test.want)
		}
	}
}

// TestNoTie has pairs of rules that look like a tie but differ in one step.
func TestNoTie(t *testing.T) {
	for _, rules := range []string{
		"a tcp ports=22\nb udp ports=22",
		"a tcp ports=22\nb ports=22",
		"a ports=22-23\nb ports=22",
		"a ports=1-10\nb ports=11-20",
		"a\nb prefix=198.18.0.0/20",
		"a prefix=198.18.1.0/24\nb prefix=198.18.1.0/25",
		"a\nb from=10.0.0.0/8",
		"a from=10.0.0.0/8\nb from=10.0.0.0/9",
		"a prefix=198.18.1.0/24 from=10.0.0.0/8,fd00::/8\nb prefix=198.18.1.0/24 from=11.0.0.0/8,fd00::/8",
		"a prefix=198.18.1.0/24,198.18.1.0/24 from=10.0.0.0/8,10.0.0.0/8",
	} {
		mustCompile(t, "serve 198.18.0.0/20\nserve 2001:db8::/48\n"+rules)
	}
}

// TestFaultsTogether shows that one Compile reports everything, by type, with what conf needs to name the line.
func TestFaultsTogether(t *testing.T) {
	set := parseSet(t, `
		serve 198.18.0.0/20
		serve 198.18.0.0/20
		bad ports=0
		out prefix=10.0.0.0/8
		a tcp ports=22
		b tcp ports=22
		c tcp ports=22`)
	_, err := rule.Compile(set)
	var prefix *rule.PrefixError
	var invalid *rule.InvalidError
	var outside *rule.OutsideError
	var tie *rule.TieError
	if !errors.As(err, &prefix) || prefix.Index != 1 {
		t.Errorf("PrefixError %+v", prefix)
	}
	if !errors.As(err, &invalid) || invalid.Rule != 0 {
		t.Errorf("InvalidError %+v", invalid)
	}
	if !errors.As(err, &outside) || outside.Rule != 1 || outside.Prefix != netip.MustParsePrefix("10.0.0.0/8") {
		t.Errorf("OutsideError %+v", outside)
	}
	if !errors.As(err, &tie) || tie.A != 2 || tie.B != 3 || tie.Ports != (rule.PortRange{First: 22, Last: 22}) {
		t.Errorf("TieError %+v", tie)
	}
	if n := len(faults(err)); n != 5 {
		t.Errorf("%d faults, want 5, with a tie of b and c:\n%v", n, err)
	}
}

// TestEmpty compiles sets with nothing in them.
func TestEmpty(t *testing.T) {
	for _, text := range []string{"", "all"} {
		table := mustCompile(t, text)
		if got, _ := query("198.18.0.1:80/tcp").ask(t, table); got != "(outside)" {
			t.Errorf("%q: %s", text, got)
		}
	}
	if never := mustCompile(t, "all").NeverMatch(); len(never) != 1 {
		t.Errorf("a rule without a served prefix: NeverMatch %v", never)
	}
	table := mustCompile(t, "serve 198.18.0.0/20")
	if got, _ := query("198.18.0.1:80/tcp").ask(t, table); got != "(sealed)" {
		t.Errorf("a served prefix without rules: %s", got)
	}
}
