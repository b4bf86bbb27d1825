package rule_test

import (
	"net/netip"
	"testing"

	"anyport/conf/rule"
)

func TestLookupDoesNotAllocate(t *testing.T) {
	table := mustCompile(t, `
		serve 198.18.0.0/20
		serve 2001:db8::/48
		office prefix=198.18.1.0/24,2001:db8:0:1::/64 ports=22 from=10.0.0.0/8,10.1.0.0/16,fd00::/8
		web ports=80`)
	for _, q := range []query{
		"198.18.1.1:22/tcp from 10.1.2.3", "[::ffff:198.18.1.1]:22/udp from ::ffff:10.1.2.3", "192.0.2.1:22/tcp",
		"[2001:db8:0:1::1]:22/udp from fd00::1", "[2001:db8::1]:80/tcp from fe80::1%eth0",
	} {
		p, src, dst, _ := q.parse(t)
		if n := testing.AllocsPerRun(100, func() { table.Lookup(p, src, dst) }); n != 0 {
			t.Errorf("Lookup %s: %v allocations", q, n)
		}
		if n := testing.AllocsPerRun(100, func() { table.Serves(dst.Addr()) }); n != 0 {
			t.Errorf("Serves %s: %v allocations", q, n)
		}
	}
}

// TestAddressForms asks with addresses as sockets show them, and with none.
func TestAddressForms(t *testing.T) {
	table := mustCompile(t, `
		serve 198.18.0.0/20
		serve fe80::/10
		office ports=22 from=10.0.0.0/8,fe80::/16
		web ports=22-80`)
	for _, test := range []struct {
		src, dst netip.Addr
		want     string
	}{
		{netip.MustParseAddr("::ffff:10.0.0.1"), netip.MustParseAddr("::ffff:198.18.0.1"), "office"},
		{netip.MustParseAddr("::ffff:10.0.0.1"), netip.MustParseAddr("198.18.0.1"), "office"},
		{netip.MustParseAddr("fe80::1%eth0"), netip.MustParseAddr("fe80::2%eth0"), "office"},
		{netip.Addr{}, netip.MustParseAddr("198.18.0.1"), "web"},
		{netip.MustParseAddr("fe80::1"), netip.MustParseAddr("198.18.0.1"), "web"},
		{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fe80::1"), "web"},
		{netip.MustParseAddr("10.0.0.1"), netip.Addr{}, "(outside)"},
	} {
		dst := netip.AddrPortFrom(test.dst, 22)
		got := table.Lookup(rule.TCP, test.src, dst).Rule
		if name := table.Set().RuleName(got); name != test.want {
			t.Errorf("%s -> %s: %s, want %s", test.src, test.dst, name, test.want)
		}
		if c := table.Explain(rule.TCP, test.src, dst)[0]; c.Rule != got {
			t.Errorf("%s -> %s: Lookup says %d, Explain %d", test.src, test.dst, got, c.Rule)
		}
		if table.Serves(test.dst) != (got != rule.Outside) {
			t.Errorf("Serves(%s) is wrong", test.dst)
		}
	}
}
