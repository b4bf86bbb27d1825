package rule_test

import (
	"fmt"
	"net/netip"
	"testing"

	"anyport/conf/rule"
)

// TestSharedSources compiles 50 rules with one allow list of 1,000 sources.
func TestSharedSources(t *testing.T) {
	table, err := rule.Compile(allowList())
	if err != nil {
		t.Fatal(err)
	}
	if n := len(table.Sources); n != 1000 {
		t.Errorf("%d sources, want 1000", n)
	}
	if n := len(table.Rows); n != 51 {
		t.Errorf("%d rows, want one a rule and the refusal", n)
	}
}

// TestSharedSourcesBehindOthers puts rules with lists of their own in front of rules that share one: what they share is
// then resolved with each list, but equal results are still one.
func TestSharedSourcesBehindOthers(t *testing.T) {
	set := allowList()
	for i := range 50 {
		r := set.Rules[i]
		r.Name, r.From = fmt.Sprintf("front %d", i), []netip.Prefix{netip.MustParsePrefix("172.16.0.0/12")}
		r.Ports = []rule.PortRange{{First: r.Ports[0].First, Last: r.Ports[0].First + 10}}
		set.Rules = append(set.Rules, r)
	}
	table, err := rule.Compile(set)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(table.Sources); n != 1000+1001 {
		t.Errorf("%d sources, want the 1,000 once alone and once behind another", n)
	}
}

// TestSharedLists compiles one rule with 1,000 prefixes of each family, and one that adds nothing to its prefix.
func TestSharedLists(t *testing.T) {
	set := rule.Set{Prefixes: served}
	wide := rule.Rule{Name: "wide", Ports: []rule.PortRange{{First: 443, Last: 443}}}
	for i := range 1000 {
		wide.Prefixes = append(wide.Prefixes, netip.PrefixFrom(v4(i<<8), 24), netip.PrefixFrom(v6(i), 64))
	}
	set.Rules = append(set.Rules, wide)
	for range 2 {
		table, err := rule.Compile(set)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(table.Nodes); n != 2000+len(served) {
			t.Errorf("%d nodes, want 2000 and the served ones", n)
		}
		if n := len(table.Intervals); n != 1+3 {
			t.Errorf("%d intervals, want one for all ports and three around the rule's port", n)
		}
		silent := wide // the same port at longer prefixes, but a wider range
		silent.Name, silent.Prefixes = "silent", []netip.Prefix{netip.PrefixFrom(v4(0), 16)}
		silent.Ports = []rule.PortRange{{First: 443, Last: 443}}
		silent.From = []netip.Prefix{netip.MustParsePrefix("fd00::/8")}
		set.Rules = append(set.Rules, silent)
	}
}

// TestOtherDefaultIsNotShared has a served prefix inside another that differs in nothing but its default.
func TestOtherDefaultIsNotShared(t *testing.T) {
	table := mustCompile(t, `
		serve 198.18.0.0/20
		serve 198.18.1.0/24 open
		serve 198.18.2.0/24
		all ports=1-1000`)
	if n := len(table.Nodes); n != 2 {
		t.Errorf("%d nodes, want the sealed /20 and the open /24, not the sealed /24: %v", n, table.Nodes)
	}
}

// TestTableShape checks what the kernel's program relies on: every list covers all ports in order, port 0 is refused,
// and every reference is in range.
func TestTableShape(t *testing.T) {
	table, err := rule.Compile(withFrom(500))
	if err != nil {
		t.Fatal(err)
	}
	winners := make(map[uint32]uint32) // by source set: its highest ordinal
	for i, s := range table.Sources {
		winners[s.Set] = max(winners[s.Set], s.Ordinal)
		if i > 0 && s.Set == table.Sources[i-1].Set && table.Sources[i-1].Prefix.Compare(s.Prefix) >= 0 {
			t.Fatalf("sources %d and %d of set %d are out of order", i-1, i, s.Set)
		}
	}
	for _, n := range table.Nodes {
		for _, l := range []rule.List{n.TCP, n.UDP} {
			list := table.Intervals[l.Offset : l.Offset+l.Len]
			if list[0].First != 0 || table.Actions[table.Rows[list[0].Row].Base].Rule != rule.Sealed {
				t.Fatalf("%s: begins with %+v", n.Prefix, list[0])
			}
			for i := 1; i < len(list); i++ {
				if list[i-1].First >= list[i].First || list[i-1].Row == list[i].Row {
					t.Fatalf("%s: %+v follows %+v", n.Prefix, list[i], list[i-1])
				}
			}
		}
	}
	for i, r := range table.Rows {
		if last := r.Base + winners[r.SourceSet]; int(last) >= len(table.Actions) {
			t.Fatalf("row %d reaches action %d of %d", i, last, len(table.Actions))
		}
	}
}
