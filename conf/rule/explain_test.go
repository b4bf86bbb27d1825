package rule_test

import (
	"fmt"
	"slices"
	"testing"

	"anyport/conf/rule"
	"anyport/conf/rule/ruletest"
)

const explained = `
	serve 198.18.0.0/20
	serve 2001:db8::/48 open
	any
	web prefix=198.18.0.0/20,2001:db8::/48 ports=1-1024
	tcp-web tcp prefix=198.18.0.0/20,2001:db8::/48 ports=1-1024
	office tcp prefix=198.18.0.0/20,2001:db8::/48 ports=1-1024 from=192.0.2.0/24,2001:db8:99::/64
	ssh prefix=198.18.1.0/24,2001:db8:0:1::/64 ports=22 from=10.0.0.0/8,fd00::/8 do=refuse
	deep prefix=198.18.1.0/24,2001:db8:0:1::/64 ports=20-30 do=pass`

func TestExplain(t *testing.T) {
	table := mustCompile(t, explained)
	for _, test := range []struct {
		query query
		want  []string
	}{
		{"198.18.1.7:22/tcp", []string{
			"deep pass 198.18.1.0/24 20-30 tcp+udp 0.0.0.0/0 own: wins",
			"ssh refuse 198.18.1.0/24 22 tcp+udp - own: source not admitted",
			"office steer 198.18.0.0/20 1-1024 tcp 192.0.2.0/24 inherited: shorter prefix (198.18.0.0/20 < 198.18.1.0/24)",
			"tcp-web steer 198.18.0.0/20 1-1024 tcp 0.0.0.0/0 inherited: shorter source prefix (0.0.0.0/0 < 192.0.2.0/24)",
			"web steer 198.18.0.0/20 1-1024 tcp+udp 0.0.0.0/0 inherited: protocol-neutral (tcp+udp < tcp)",
			"any steer - 1-65535 tcp+udp 0.0.0.0/0 inherited: no prefix (< 198.18.0.0/20)",
			"(sealed) refuse 198.18.0.0/20 inherited: default, asked last",
		}},
		{"[2001:db8:0:1::7]:22/tcp from fd00::1", []string{
			"ssh refuse 2001:db8:0:1::/64 22 tcp+udp fd00::/8 own: wins",
			"deep pass 2001:db8:0:1::/64 20-30 tcp+udp ::/0 own: wider port range (20-30 > 22)",
			"tcp-web steer 2001:db8::/48 1-1024 tcp ::/0 inherited: shorter prefix (2001:db8::/48 < 2001:db8:0:1::/64)",
			"office steer 2001:db8::/48 1-1024 tcp - inherited: source not admitted",
			"web steer 2001:db8::/48 1-1024 tcp+udp ::/0 inherited: protocol-neutral (tcp+udp < tcp)",
			"any steer - 1-65535 tcp+udp ::/0 inherited: no prefix (< 2001:db8::/48)",
			"(open) pass 2001:db8::/48 inherited: default, asked last",
		}},
		{"198.18.2.7:2000/udp", []string{
			"any steer - 1-65535 tcp+udp 0.0.0.0/0 own: wins",
			"(sealed) refuse 198.18.0.0/20 own: default, asked last",
		}},
		{"198.18.2.7:0/udp", []string{"(sealed) refuse 198.18.0.0/20 own: wins"}},
		{"[2001:db8::7]:0/udp", []string{"(sealed) refuse 2001:db8::/48 own: wins"}},
		{"10.0.0.1:80/tcp", []string{"(outside) pass - own: wins"}},
	} {
		p, src, dst, _ := test.query.parse(t)
		var got []string
		for _, c := range table.Explain(p, src, dst) {
			got = append(got, line(table.Set(), c))
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s:\ngot  %q\nwant %q", test.query, got, test.want)
		}
	}
}

// TestExplainDefaultWins puts the default first where no rule admits the source.
func TestExplainDefaultWins(t *testing.T) {
	table := mustCompile(t, "serve 198.18.0.0/20 open\nssh ports=22 from=10.0.0.0/8")
	p, src, dst, _ := query("198.18.0.1:22/tcp").parse(t)
	c := table.Explain(p, src, dst)
	if len(c) != 2 || c[0].Rule != rule.Open || c[0].Lost.Cause != rule.Won || c[1].Lost.Cause != rule.NotAdmitted {
		t.Errorf("got %+v", c)
	}
}

// line writes a candidate as the tables of the tests do.
func line(set rule.Set, c rule.Candidate) string {
	s := fmt.Sprintf("%s %s %s", set.RuleName(c.Rule), c.Verdict, describe(c.Prefix))
	if c.Rule >= 0 {
		s += fmt.Sprintf(" %s %s %s", c.Ports, c.Protocol, describe(c.Source))
	}
	if c.Inherited {
		return s + " inherited: " + c.Lost.String()
	}
	return s + " own: " + c.Lost.String()
}

// TestExplainIsTheOrder takes the winner out of random sets, one after the other: Explain must have named the order.
func TestExplainIsTheOrder(t *testing.T) {
	rng := newRand(t)
	longest := 0
	for range 300 {
		set := ruletest.Random(rng)
		table, err := rule.Compile(set)
		if err != nil {
			t.Fatal(err)
		}
		p, src, dst := ruletest.Packet(rng, set)
		var order []int
		for _, c := range table.Explain(p, src, dst) {
			if c.Lost.Cause != rule.NotAdmitted {
				order = append(order, c.Rule)
			}
		}
		longest = max(longest, len(order))
		left := rule.Set{Prefixes: set.Prefixes, Rules: slices.Clone(set.Rules)}
		for _, want := range order {
			got := ruletest.Naive(left, p, src, dst).Rule
			if got != want {
				t.Fatalf("%s %s -> %s: %v, but then %d wins\n%s", p, src, dst, order, got, dump(set))
			}
			if got >= 0 {
				left.Rules[got].Ports = []rule.PortRange{{First: dst.Port() + 1, Last: dst.Port() + 1}} // out of the way
			}
		}
	}
	if longest < 4 {
		t.Errorf("at most %d candidates: the generators miss overlaps", longest)
	}
}
