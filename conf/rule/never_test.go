package rule_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"anyport/conf/rule"
	"anyport/conf/rule/ruletest"
)

// TestNeverMatch has rules that better ones leave nothing for.
func TestNeverMatch(t *testing.T) {
	for _, test := range []struct {
		set  string
		want []string
	}{
		{"a", nil},
		{"a ports=1-10\nb tcp ports=1-10\nc udp ports=1-10", []string{"a"}},
		{"a ports=1-10\nb tcp ports=1-10", nil},
		{"a ports=1-10\nb ports=1-5\nc ports=6-10", []string{"a"}},
		{"a ports=1-10\nb ports=1-5 from=10.0.0.0/8\nc ports=6-10", nil},
		{"a ports=7\nb prefix=198.18.0.0/21\nc prefix=198.18.8.0/21\nd prefix=2001:db8::/48", []string{"a"}},
		{"a prefix=198.18.1.0/24\nb prefix=198.18.1.0/25\nc prefix=198.18.1.128/26\nd prefix=198.18.1.192/26",
			[]string{"a"}},
		{"a prefix=198.18.1.0/24\nb prefix=198.18.1.0/25\nc prefix=198.18.1.128/26", nil},
		{"a prefix=198.18.0.0/20\nb prefix=198.18.0.0/20 from=0.0.0.0/1\nc prefix=198.18.0.0/20 from=128.0.0.0/1",
			[]string{"a"}},
		{"a from=10.0.0.0/8\nb from=10.0.0.0/9\nc from=10.128.0.0/9", []string{"a"}},
		{"a from=10.0.0.0/8\nb ports=1-65534 from=10.0.0.0/9\nc from=10.128.0.0/9", nil},
		{"a ports=1-100 from=10.0.0.0/8\nb ports=50-150 from=10.1.0.0/16", nil},
		{"a ports=1-100 from=10.0.0.0/8\nb ports=1-150 from=10.1.0.0/16\nc tcp ports=101-150", nil},
		{"a ports=1-100 from=10.0.0.0/8\nb prefix=2001:db8::/64 from=10.0.0.0/8", []string{"b"}},
	} {
		table := mustCompile(t, "serve 198.18.0.0/20\nserve 2001:db8::/48\n"+test.set)
		var got []string
		for _, i := range table.NeverMatch() {
			got = append(got, table.Set().Rules[i].Name)
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%q: got %v, want %v", test.set, got, test.want)
		}
	}
}

// TestNeverMatchOracle tries every packet of worlds that are small enough.
func TestNeverMatchOracle(t *testing.T) {
	rng := newRand(t)
	silent := 0
	for range 200 {
		world := smallWorld(rng)
		table, err := rule.Compile(world)
		if err != nil {
			t.Fatal(err)
		}
		matched := make([]bool, len(world.Rules))
		everyPacket(func(p rule.Protocol, src netip.Addr, dst netip.AddrPort) {
			if d := ruletest.Naive(world, p, src, dst); d.Rule >= 0 {
				matched[d.Rule] = true
			}
		})
		never := table.NeverMatch()
		for e := range table.Effective() {
			if slices.Contains(never, e.Rule) {
				t.Fatalf("rule %d: NeverMatch %v, but %+v\n%s", e.Rule, never, e, dump(world))
			}
		}
		for i := range world.Rules {
			if slices.Contains(never, i) == matched[i] {
				t.Fatalf("rule %d: matches some packet: %t, NeverMatch %v\n%s", i, matched[i], never, dump(world))
			}
		}
		silent += len(never)
	}
	if silent < 40 {
		t.Errorf("%d rules never match: the generator misses them", silent)
	}
}

// smallWorld returns a set in which only eight destinations, eight sources and six ports can differ.
func smallWorld(rng *rand.Rand) rule.Set {
	small := func(base string) []netip.Prefix {
		var list []netip.Prefix
		for range 1 + rng.IntN(2) {
			addr := netip.MustParseAddr(base).As4()
			addr[3] = byte(rng.IntN(8))
			list = append(list, netip.PrefixFrom(netip.AddrFrom4(addr), 29+rng.IntN(4)).Masked())
		}
		return list
	}
	set := rule.Set{Prefixes: []rule.Prefix{{Prefix: netip.MustParsePrefix("198.18.0.0/29"), Open: rng.IntN(2) == 0}}}
	for i := range 3 + rng.IntN(12) {
		first := 1 + rng.IntN(5)
		r := rule.Rule{
			Name: fmt.Sprint(i), Protocol: []rule.Protocol{rule.Both, rule.TCP, rule.UDP}[rng.IntN(3)],
			Ports: []rule.PortRange{{First: uint16(first), Last: uint16(first + rng.IntN(6-first))}},
		}
		if rng.IntN(3) > 0 {
			r.Prefixes = small("198.18.0.0")
		}
		if rng.IntN(3) > 0 {
			r.From = small("10.0.0.0")
		}
		if !slices.ContainsFunc(set.Rules, func(other rule.Rule) bool { return ruletest.Tied(r, other) }) {
			set.Rules = append(set.Rules, r)
		}
	}
	return set
}

// everyPacket visits all that a small world can tell apart.
func everyPacket(visit func(rule.Protocol, netip.Addr, netip.AddrPort)) {
	for _, p := range []rule.Protocol{rule.TCP, rule.UDP} {
		for dst := range byte(8) {
			for src := range byte(9) { // the last is in no source prefix
				for port := uint16(1); port <= 6; port++ {
					to := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 18, 0, dst}), port)
					visit(p, netip.AddrFrom4([4]byte{10, 0, 0, src}), to)
				}
			}
		}
	}
}
