package route

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"anyport/conf/rule"
)

var (
	client = netip.MustParseAddr("192.0.2.1")
	web4   = netip.MustParseAddrPort("198.18.0.1:80")
	web6   = netip.MustParseAddrPort("[2001:db8::1]:80")
)

func steer(name string, ports rule.PortRange) rule.Rule {
	return rule.Rule{Name: name, Ports: []rule.PortRange{ports}, Verdict: rule.Steer, Fallback: rule.NoService}
}

func table(t *testing.T, routes []*Route, rules ...rule.Rule) *Table {
	t.Helper()
	compiled, err := rule.Compile(rule.Set{
		Prefixes: []rule.Prefix{
			{Prefix: netip.MustParsePrefix("198.18.0.0/20")}, {Prefix: netip.MustParsePrefix("2001:db8::/48")}},
		Rules: rules,
	})
	if err != nil {
		t.Fatal(err)
	}
	return NewTable(compiled, routes)
}

func TestLookup(t *testing.T) {
	web := &Route{Name: "web"}
	refuse := rule.Rule{Name: "no-smtp", Ports: []rule.PortRange{{First: 25, Last: 25}}, Verdict: rule.Refuse}
	foreign := steer("dns", rule.PortRange{First: 53, Last: 53})
	tab := table(t, []*Route{web, nil}, steer("web", rule.PortRange{First: 1, Last: 1000}), refuse, foreign)
	for _, p := range []rule.Protocol{rule.TCP, rule.UDP} {
		for _, dst := range []netip.AddrPort{web4, web6} {
			if got := tab.Lookup(p, client, dst); got != web {
				t.Errorf("%v %v: route %v, want web", p, dst, got)
			}
			for why, port := range map[string]uint16{"refused": 25, "another service's": 53, "unclaimed": 2000} {
				if got := tab.Lookup(p, client, netip.AddrPortFrom(dst.Addr(), port)); got != nil {
					t.Errorf("%v port %d (%s): route %v, want none", p, port, why, got)
				}
			}
		}
	}
}

func TestServes(t *testing.T) {
	var live Live
	if live.Serves(web4.Addr()) {
		t.Error("a table that was never filled serves an address")
	}
	live.Swap(table(t, nil))
	for addr, want := range map[string]bool{"198.18.15.255": true, "198.18.16.0": false,
		"::ffff:198.18.0.1": true, "2001:db8::": true, "2001:db9::": false} {
		if got := live.Serves(netip.MustParseAddr(addr)); got != want {
			t.Errorf("serves %s: %v, want %v", addr, got, want)
		}
	}
}

// A miss is looked up in the table before for Grace, and no longer; a hit never is.
func TestGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var live Live
		if live.Lookup(rule.TCP, client, web4) != nil {
			t.Error("a table that was never filled claims a packet")
		}
		old, fresh := &Route{Name: "old"}, &Route{Name: "fresh"}
		low, high := rule.PortRange{First: 1, Last: 100}, rule.PortRange{First: 80, Last: 200}
		live.Swap(table(t, []*Route{old}, steer("old", low)))
		live.Swap(table(t, []*Route{fresh}, steer("fresh", high)))
		onlyOld := netip.AddrPortFrom(web4.Addr(), 22)
		if got := live.Lookup(rule.TCP, client, web4); got != fresh {
			t.Errorf("port of both tables: route %v, want the new one", got)
		}
		if got := live.Lookup(rule.TCP, client, onlyOld); got != old {
			t.Errorf("port of the old table, at once: route %v, want the old one", got)
		}
		time.Sleep(Grace + time.Nanosecond)
		if got := live.Lookup(rule.TCP, client, onlyOld); got != nil {
			t.Errorf("port of the old table, after the grace: route %v, want none", got)
		}
		if got := live.Lookup(rule.TCP, client, web4); got != fresh {
			t.Errorf("port of the new table, after the grace: route %v, want the new one", got)
		}
	})
}

func TestLookupAllocatesNothing(t *testing.T) {
	var live Live
	live.Swap(table(t, []*Route{{}}, steer("web", rule.PortRange{First: 1, Last: 65535})))
	if n := testing.AllocsPerRun(100, func() { live.Lookup(rule.UDP, client, web6) }); n != 0 {
		t.Errorf("%v allocations for a look-up, want 0", n)
	}
}
