package main

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"anyport/proxy/upstream"
	"anyport/steering"
)

// What status prints does not depend on the order of maps.
func TestStatusPrintsInOrder(t *testing.T) {
	r := report{Daemon: &daemonStatus{
		Loaded: time.Now(),
		Routes: []routeStatus{{Name: "web", Action: "proxy", Upstreams: []upstream.Info{
			{Upstream: "10.0.0.5", Weight: 3, State: upstream.Ejected, Reason: "it failed", Active: 7},
			{Upstream: "10.0.0.6:80", Weight: 1, Backup: true, State: upstream.Up}}}},
		Names: []upstream.NameInfo{
			{Name: "a.test", Addresses: []netip.Addr{netip.IPv6Loopback(), netip.IPv6Unspecified()}, TTL: 90,
				Resolved: new(time.Time), Failures: 4, Error: "server down"},
			{Name: "b.test"}},
		Drops: map[string]uint64{"stray": 2, "no_flow": 1, "truncated": 0},
		UDPSources: map[netip.Addr][]string{
			netip.MustParseAddr("203.0.113.2"): {"10000-10099"},
			netip.MustParseAddr("203.0.113.1"): {"10000-10099", "10200-10299"},
			netip.MustParseAddr("2001:db8::1"): {"10000-10099"},
		},
	}}
	var out strings.Builder
	must(t, r.print(&out))
	rest := out.String()
	for _, want := range []string{"10.0.0.5", "ejected", "it failed", "10.0.0.6:80", "up, backup", "a.test", "::1,::", "1m30s", "4", "server down",
		"b.test", "never", "203.0.113.1", "10000-10099,10200-10299", "203.0.113.2", "2001:db8::1",
		"no_flow 1, stray 2\n", "kernel: no program"} {
		_, after, found := strings.Cut(rest, want)
		if !found {
			t.Fatalf("no %q in its place in\n%s", want, &out)
		}
		rest = after
	}
}

// Before a configuration is in force there is nothing to tell of one.
func TestStatusWhileStarting(t *testing.T) {
	r := report{Daemon: new(daemonStatus)}
	var out strings.Builder
	must(t, r.print(&out))
	if got := out.String(); !strings.Contains(got, "starting") || strings.Contains(got, "configuration") {
		t.Errorf("status prints\n%s", got)
	}
}

func TestRefusalCause(t *testing.T) {
	for _, c := range []struct {
		sample steering.Sample
		want   string
	}{
		{steering.Sample{Cause: steering.Refused, Rule: steering.Rule{ID: steering.IDSealed}}, "no rule claims it"},
		{steering.Sample{Cause: steering.Refused, Rule: steering.Rule{ID: steering.IDSealed + 100}}, "the rule says so"},
		{steering.Sample{Cause: steering.Steered}, steering.Steered.String()},
	} {
		if got := refusalCause(&c.sample); got != c.want {
			t.Errorf("%+v: %q, want %q", c.sample, got, c.want)
		}
	}
}
