package steering

import (
	"fmt"
	"net/netip"
	"testing"

	"anyport/conf/rule"
)

// TestAskLeavesNoTrace asks about packets of every outcome; neither counters nor samples of the live program change.
func TestAskLeavesNoTrace(t *testing.T) {
	w := newWorld(t)
	s := w.load()
	set := rule.Set{
		Prefixes: append(served(), rule.Prefix{Prefix: netip.MustParsePrefix("203.0.113.0/24"), Open: true}),
		Rules: []rule.Rule{
			{Name: "web", Protocol: rule.TCP, Ports: ports(80), Verdict: rule.Steer, Service: 7,
				Fallback: rule.NoService},
			{Name: "spare", Ports: ports(81), Verdict: rule.Steer, Service: 8, Fallback: 7},
			{Name: "mail", Ports: ports(25), Verdict: rule.Refuse, Service: rule.NoService, Fallback: rule.NoService},
			{Name: "ssh", Ports: ports(22), Verdict: rule.Pass, Service: rule.NoService, Fallback: rule.NoService},
			{Name: "office", Ports: ports(443), From: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
				Verdict: rule.Pass, Service: rule.NoService, Fallback: rule.NoService},
		},
	}
	publish(t, s, set)
	l := w.listen(home)
	assign(t, s, 7, rule.TCP, l)
	socket := slotCookie(t, s, 7)
	before := fmt.Sprint(s.Counters())
	const nobody = rule.NoService
	for _, c := range []struct {
		p        rule.Protocol
		src, dst string
		rule     string
		want     Answer // less Rule and Generation
	}{
		{rule.TCP, "", "198.18.0.1:80", "web", Answer{Rule{}, rule.Steer, 7, Steered, Steered, socket, 0}},
		{rule.TCP, "", "[2001:db8::1]:80", "web", Answer{Rule{}, rule.Steer, 7, Steered, Steered, socket, 0}},
		{rule.TCP, "", "[::ffff:198.18.0.1]:80", "web", Answer{Rule{}, rule.Steer, 7, Steered, Steered, socket, 0}},
		{rule.UDP, "", "198.18.0.1:80", "(sealed)", Answer{Rule{}, rule.Refuse, nobody, Refused, Refused, 0, 0}},
		{rule.TCP, "", "198.18.0.1:81", "spare", Answer{Rule{}, rule.Steer, 7, Fallback, Empty, socket, 0}},
		{rule.UDP, "", "[2001:db8::1]:81", "spare", Answer{Rule{}, rule.Refuse, nobody, Refused, Empty, 0, 0}},
		{rule.TCP, "", "198.18.0.1:25", "mail", Answer{Rule{}, rule.Refuse, nobody, Refused, Refused, 0, 0}},
		{rule.UDP, "", "198.18.0.1:22", "ssh", Answer{Rule{}, rule.Pass, nobody, Passed, Passed, 0, 0}},
		{rule.TCP, "10.1.2.3", "198.18.0.1:443", "office", Answer{Rule{}, rule.Pass, nobody, Passed, Passed, 0, 0}},
		{rule.TCP, "11.1.2.3", "198.18.0.1:443", "(sealed)",
			Answer{Rule{}, rule.Refuse, nobody, Refused, Refused, 0, 0}},
		{rule.TCP, "", "203.0.113.1:443", "(open)", Answer{Rule{}, rule.Pass, nobody, Passed, Passed, 0, 0}},
		{rule.TCP, "", "192.0.2.1:80", "(outside)", Answer{Rule{}, rule.Pass, nobody, Passed, Passed, 0, 0}},
	} {
		src, _ := netip.ParseAddr(c.src) // the zero Addr for ""
		got, err := s.Ask(c.p, src, netip.MustParseAddrPort(c.dst))
		c.want.Rule, c.want.Generation = got.Rule, 1
		if err != nil || got.Rule.Name != c.rule || got != c.want {
			t.Errorf("%s %s -> %s: %+v, %v; want %q, %+v", c.p, c.src, c.dst, got, err, c.rule, c.want)
		}
	}
	if after := fmt.Sprint(s.Counters()); after != before {
		t.Errorf("counters were %s, are %s", before, after)
	}
}

func ports(list ...uint16) (ranges []rule.PortRange) {
	for _, p := range list {
		ranges = append(ranges, rule.PortRange{First: p, Last: p})
	}
	return ranges
}

// TestAskNonsense asks about packets that cannot be.
func TestAskNonsense(t *testing.T) {
	s := newWorld(t).load()
	for name, c := range map[string]struct {
		p        rule.Protocol
		src, dst string
	}{
		"both protocols": {rule.Both, "", "198.18.0.1:80"},
		"two families":   {rule.TCP, "10.0.0.1", "[2001:db8::1]:80"},
		"nowhere":        {rule.TCP, "10.0.0.1", ""},
	} {
		src, _ := netip.ParseAddr(c.src)
		dst, _ := netip.ParseAddrPort(c.dst)
		if a, err := s.Ask(c.p, src, dst); err == nil {
			t.Errorf("%s: %+v", name, a)
		}
	}
}

// TestTwinStaysWithItsGeneration publishes under a twin.
func TestTwinStaysWithItsGeneration(t *testing.T) {
	s := newWorld(t).load()
	publish(t, s, setFor("old", 0))
	twin, err := s.Twin()
	if err != nil {
		t.Fatal(err)
	}
	defer twin.Close()
	publish(t, s, setFor("new", 0))
	dst := netip.AddrPortFrom(anycast4, 80)
	old, errOld := twin.Ask(rule.TCP, netip.Addr{}, dst)
	now, errNow := s.Ask(rule.TCP, netip.Addr{}, dst)
	if errOld != nil || errNow != nil || old.Rule.Name != "old" || old.Generation != 1 || now.Rule.Name != "new" {
		t.Errorf("the twin says %+v, %v; a new one %+v, %v", old, errOld, now, errNow)
	}
}
