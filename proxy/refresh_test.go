package proxy

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"anyport/bench/netlab"
	"anyport/conf"
	"anyport/conf/rule"
)

// steersReplies reports whether a table sends replies to addr to us.
func steersReplies(table *rule.Table, addr netip.Addr) bool {
	d := table.Lookup(rule.UDP, addr, netip.AddrPortFrom(addr, conf.DefaultUDPPorts.First))
	return d.Verdict == rule.Steer && table.Set().Rules[d.Rule].Service == conf.ServiceReplies
}

// upstreams returns where the first route leads.
func (r *rig) upstreams() (list []string) {
	for _, u := range r.Routes()[0].Upstreams {
		list = append(list, u.Upstream)
	}
	return list
}

func (r *rig) wantUpstreams(when string, want ...string) {
	r.t.Helper()
	if got := r.upstreams(); !slices.Equal(got, want) {
		r.t.Errorf("%s: upstreams %q, want %q", when, got, want)
	}
}

// An address of another family comes up for a name, which is reached from a source address that was not used before.
// Its replies must be steered before any datagram goes there; while they cannot be, the address is not used.
func TestRefreshSteersNewSourceFirst(t *testing.T) {
	r := newRig(t, home)
	r.name("moving.test", "127.0.0.2")
	must(t, r.put(home+routeOf("web", "moving.test:80")))
	r.wantUpstreams("at first", "127.0.0.2:80")

	r.name("moving.test", "127.0.0.2", "::1")
	r.whenPublished(func(*rule.Table) error { return errPublish })
	for range 2 { // a failure must not pass for done at the next try
		if err := r.refreshAll(); !errors.Is(err, errPublish) {
			t.Fatalf("refresh returned %v, want %v", err, errPublish)
		}
		r.wantUpstreams("while the kernel says no", "127.0.0.2:80")
	}

	var steered bool
	var during string
	r.whenPublished(func(table *rule.Table) error {
		steered = steersReplies(table, netip.IPv6Loopback())
		during = fmt.Sprint(r.current.groups[0].Endpoints())
		return nil
	})
	must(t, r.refreshAll())
	if !steered || during != "[127.0.0.2:80]" {
		t.Errorf("the table steers replies to ::1: %v; upstreams in use before: %s", steered, during)
	}
	r.wantUpstreams("at last", "127.0.0.2:80", "[::1]:80")

	r.whenPublished(func(*rule.Table) error { t.Error("published again without need"); return nil })
	must(t, r.refreshAll())
}

// Apply, too, has the replies of a new source steered before user space uses it: beside the rules still in force.
func TestApplySteersNewSourceFirst(t *testing.T) {
	r := newRig(t, home)
	must(t, r.put(home+routeOf("old", "127.0.0.2:80")))
	var claimed []string
	r.whenPublished(func(table *rule.Table) error {
		if !steersReplies(table, netip.IPv6Loopback()) {
			t.Error("a table does not steer replies to ::1")
		}
		claimed = append(claimed, r.claimant())
		return nil
	})
	must(t, r.put(home+routeOf("fresh", "[::1]:80")))
	if want := []string{"old", "fresh"}; !slices.Equal(claimed, want) {
		t.Errorf("when tables were published, packets belonged to %v, want %v", claimed, want)
	}
}

// A name that fails keeps its last good addresses, and is told of; the others are refreshed.
func TestRefreshKeepsLastGood(t *testing.T) {
	r := newRig(t, home)
	r.name("a.test", "127.0.0.2")
	r.name("b.test", "127.0.0.3")
	must(t, r.put(home+"[[route]]\nname = \"web\"\nupstream = [\"a.test:80\", \"b.test:80\"]\n"))
	r.name("a.test")
	r.name("b.test", "127.0.0.4")
	if err := r.refreshAll(); !errors.Is(err, errNoSuchName) {
		t.Errorf("refresh returned %v, want %v", err, errNoSuchName)
	}
	r.wantUpstreams("while one name fails", "127.0.0.2:80", "127.0.0.4:80")
	r.name("a.test", "127.0.0.5")
	must(t, r.refreshAll())
	r.wantUpstreams("when it is back", "127.0.0.5:80", "127.0.0.4:80")
}

// Run refreshes by itself what comes due, with the interval of the configuration in force.
func TestRunRefreshes(t *testing.T) {
	text := home + routeOf("web", "moving.test:80")
	r := newRig(t, text)
	r.name("moving.test", "127.0.0.2")
	must(t, r.put("resolve_interval_min = \"1h\"\nresolve_interval_max = \"1h\"\n"+text))
	r.run(t.Context())
	must(t, r.put("resolve_interval_min = \"1s\"\n"+text))
	r.name("moving.test", "127.0.0.3")
	netlab.Eventually(t, "the new address is in use", func() bool { return r.upstreams()[0] == "127.0.0.3:80" })
	r.name("moving.test")
	netlab.Eventually(t, "a look-up fails", func() bool { return r.Names()[0].Error == errNoSuchName.Error() })
	r.wantUpstreams("when the name is gone", "127.0.0.3:80")
}
