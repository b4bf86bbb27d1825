package rule_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"anyport/conf/rule"
	"anyport/conf/rule/ruletest"
)

func TestEffective(t *testing.T) {
	table := mustCompile(t, `
		serve 198.18.0.0/20
		serve 2001:db8::/48 open
		web ports=80,443
		ssh tcp prefix=198.18.1.0/24 ports=22,2200-2299 from=198.51.100.0/24
		no-smtp prefix=198.18.0.0/20 ports=25 do=refuse
		nobody prefix=198.18.0.0/20 ports=20-30 from=fd00::/8
		hidden prefix=2001:db8:0:2::/63 ports=7
		left prefix=2001:db8:0:2::/64
		right prefix=2001:db8:0:3::/64`)
	want := strings.TrimLeft(`
198.18.1.0/24 tcp 22 from 198.51.100.0/24 ssh own
198.18.1.0/24 tcp 2200-2299 from 198.51.100.0/24 ssh own
198.18.1.0/24 tcp+udp 25 from 0.0.0.0/0 no-smtp inherited
198.18.1.0/24 tcp+udp 80 from 0.0.0.0/0 web inherited
198.18.1.0/24 tcp+udp 443 from 0.0.0.0/0 web inherited
198.18.1.0/24 tcp+udp 1-65535 from 0.0.0.0/0 (sealed) inherited
198.18.0.0/20 tcp+udp 25 from 0.0.0.0/0 no-smtp own
198.18.0.0/20 tcp+udp 80 from 0.0.0.0/0 web own
198.18.0.0/20 tcp+udp 443 from 0.0.0.0/0 web own
198.18.0.0/20 tcp+udp 1-65535 from 0.0.0.0/0 (sealed) own
2001:db8:0:2::/64 tcp+udp 1-65535 from ::/0 left own
2001:db8:0:3::/64 tcp+udp 1-65535 from ::/0 right own
2001:db8::/48 tcp+udp 80 from ::/0 web own
2001:db8::/48 tcp+udp 443 from ::/0 web own
2001:db8::/48 tcp+udp 1-65535 from ::/0 (open) own
`, "\n")
	got := ""
	for e := range table.Effective() {
		origin := "own"
		if e.Inherited {
			origin = "inherited"
		}
		got += fmt.Sprintf("%s %s %s from %s %s %s\n",
			e.At, e.Protocol, e.Ports, e.Source, table.Set().RuleName(e.Rule), origin)
	}
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	for range table.Effective() {
		break // the iterator must end when its reader does
	}
}

// TestEffectiveReadsAsTable reads the effective table of random sets from the top, as a person would: at the longest
// prefix the first entry that matches must be what Lookup says.
func TestEffectiveReadsAsTable(t *testing.T) {
	rng := newRand(t)
	for range 300 {
		set := ruletest.Random(rng)
		table, err := rule.Compile(set)
		if err != nil {
			t.Fatal(err)
		}
		entries := slices.Collect(table.Effective())
		for range 50 {
			p, src, dst := ruletest.Packet(rng, set)
			want := table.Lookup(p, src, dst)
			if dst.Port() == 0 || want.Rule == rule.Outside {
				continue
			}
			if got := read(entries, p, src, dst); got.Rule != want.Rule || got.Verdict != want.Verdict {
				t.Fatalf("%s %s -> %s: read %+v, want %+v\n%s", p, src, dst, got, want, dump(set))
			}
		}
	}
}

// read returns the first entry at the longest prefix around dst that matches.
func read(entries []rule.Entry, p rule.Protocol, src netip.Addr, dst netip.AddrPort) rule.Entry {
	var at netip.Prefix
	for _, e := range entries {
		if e.At.Contains(dst.Addr()) && e.At.Bits() > at.Bits() {
			at = e.At
		}
	}
	for _, e := range entries {
		covers := e.Protocol == rule.Both || e.Protocol == p
		if e.At == at && covers && e.Ports.Contains(dst.Port()) && e.Source.Contains(src) {
			return e
		}
	}
	return rule.Entry{}
}

// TestEffectiveOfWideRules checks that a rule with very many prefixes is still told from an inherited one.
func TestEffectiveOfWideRules(t *testing.T) {
	set := rule.Set{Prefixes: served[:1]}
	for _, name := range []string{"even", "odd"} {
		r := rule.Rule{Name: name, Ports: []rule.PortRange{{First: 443, Last: 443}}}
		for i := range 100 {
			r.Prefixes = append(r.Prefixes, netip.PrefixFrom(v4(len(set.Rules)<<7|i<<8), 25))
		}
		set.Rules = append(set.Rules, r)
	}
	set.Rules = append(set.Rules, rule.Rule{Name: "deep", Prefixes: []netip.Prefix{netip.PrefixFrom(v4(1), 32)},
		Ports: []rule.PortRange{{First: 1, Last: 1}}})
	table, err := rule.Compile(set)
	if err != nil {
		t.Fatal(err)
	}
	own, inherited := 0, 0
	for e := range table.Effective() {
		switch {
		case e.Rule < 0 || set.Rules[e.Rule].Name == "deep":
		case e.Inherited && e.At.Bits() == 32 && e.Prefix == netip.PrefixFrom(v4(0), 25):
			inherited++
		case !e.Inherited && e.At == e.Prefix:
			own++
		default:
			t.Errorf("entry %+v", e)
		}
	}
	if own != 200 || inherited != 1 {
		t.Errorf("%d own and %d inherited entries, want 200 and 1", own, inherited)
	}
}
