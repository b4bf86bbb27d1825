package proxy

import (
	"net/netip"
	"testing"

	"anyport/conf"
	"anyport/conf/rule"
)

// The NAT addresses are the host's own: nothing but the replies may be taken from it, not even by a route for all ports.
func TestWithRepliesTakesOnlyReplies(t *testing.T) {
	all := rule.Rule{Name: "all", Verdict: rule.Steer, Service: conf.ServiceProxy, Fallback: rule.NoService}
	set := rule.Set{Rules: []rule.Rule{all}, Prefixes: []rule.Prefix{
		{Prefix: netip.MustParsePrefix("198.18.0.0/20")}, {Prefix: netip.MustParsePrefix("2001:db8::/48")}}}
	ports := []rule.PortRange{{First: 10000, Last: 11999}, {First: 12001, Last: 32767}}
	outside4, outside6 := netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("2001:db8:1::1")
	inside := netip.MustParseAddr("198.18.0.7")
	workers := [][]rule.PortRange{ports, {{First: 40000, Last: 40001}}}
	sources := ReplyPorts{outside4: workers, outside6: workers, inside: workers}
	table, err := rule.Compile(WithReplies(set, sources))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		protocol rule.Protocol
		dst      netip.Addr
		port     uint16
		want     rule.Verdict
		service  uint16
	}{
		{rule.UDP, outside4, 10000, rule.Steer, conf.ServiceReplies},
		{rule.UDP, outside6, 32767, rule.Steer, conf.ServiceReplies},
		{rule.UDP, outside4, 40001, rule.Steer, conf.RepliesService(1)},
		{rule.UDP, outside4, 12000, rule.Pass, 0}, // another daemon's port
		{rule.UDP, outside6, 53, rule.Pass, 0},
		{rule.TCP, outside4, 10000, rule.Pass, 0},
		{rule.TCP, outside6, 22, rule.Pass, 0},
		{rule.UDP, inside, 10000, rule.Steer, conf.ServiceReplies},
		{rule.UDP, inside, 12000, rule.Steer, conf.ServiceProxy},
		{rule.TCP, inside, 10000, rule.Steer, conf.ServiceProxy},
	} {
		src := netip.IPv4Unspecified()
		if c.dst.Is6() {
			src = netip.IPv6Unspecified()
		}
		d := table.Lookup(c.protocol, src, netip.AddrPortFrom(c.dst, c.port))
		if d.Verdict != c.want {
			t.Errorf("%v %v port %d: %v, want %v", c.protocol, c.dst, c.port, d.Verdict, c.want)
			continue
		}
		if d.Verdict == rule.Steer && table.Set().Rules[d.Rule].Service != c.service {
			t.Errorf("%v %v port %d goes to service %d, want %d", c.protocol, c.dst, c.port,
				table.Set().Rules[d.Rule].Service, c.service)
		}
	}
}
