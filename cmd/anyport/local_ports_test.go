package main

import (
	"net/netip"
	"testing"

	"anyport/conf/rule"
)

func TestLocalPortsShared(t *testing.T) {
	for _, c := range []struct {
		given, reserved string
		want            bool
	}{
		{"32768\t60999\n", "\n", false},
		{"1024\t65535\n", "\n", true},
		{"1024\t10000\n", "", true},
		{"1024\t9999\n", "", false},
		{"1024\t65535\n", "10000-32767\n", false},
		{"1024\t65535\n", "80,9000-10500,10501-32767,40000\n", false},
		{"1024\t65535\n", "10000-32766\n", true},
		{"1024\t65535\n", "10001-32767\n", true},
		{"1024\t65535\n", "10000-20000,20002-65535\n", true},
		{"1024\t65535\n", "1-65535\n", false},
	} {
		var s portSysctls
		must(t, s.parse(c.given, c.reserved))
		a := netip.MustParseAddr("192.0.2.1")
		shared := s.shared(map[netip.Addr][]rule.PortRange{a: {{First: 10000, Last: 32767}}})
		if _, got := shared[a]; got != c.want {
			t.Errorf("range %q, reserved %q: ports shared: %v, want %v", c.given, c.reserved, got, c.want)
		}
	}
}

func TestLocalPortsUnreadable(t *testing.T) {
	var s portSysctls
	for _, c := range [][2]string{{"", ""}, {"1024", "x"}, {"70000 70001", ""}} {
		if err := s.parse(c[0], c[1]); err == nil {
			t.Errorf("%q was read", c)
		}
	}
	must(t, s.read("/proc/sys/net/ipv4/"))
	if err := s.read(t.TempDir() + "/"); err == nil {
		t.Error("files that do not exist were read")
	}
}
