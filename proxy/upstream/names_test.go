package upstream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"anyport/conf"
)

var errServerDown = errors.New("server down")

// testNames is Names with a zone in place of DNS; what it does not have is an error.
type testNames struct {
	*Names
	zone map[string]Answer
	log  strings.Builder
}

func newTestNames() *testNames {
	n := &testNames{zone: make(map[string]Answer)}
	n.Names = NewNames(n.answer, slog.New(slog.NewTextHandler(&n.log, nil)))
	return n
}

func (n *testNames) answer(_ context.Context, host string) (Answer, error) {
	if a, ok := n.zone[host]; ok {
		return a, nil
	}
	return Answer{}, errServerDown
}

func groupOf(specs ...conf.Upstream) *Group {
	return NewPool(nil).Group(&conf.Route{Name: "web", Upstreams: specs, Balance: conf.RoundRobin})
}

// addresses returns where a group's upstreams lead.
func (n *testNames) addresses(g *Group) string {
	var list []netip.Addr
	for _, e := range n.Endpoints([]*Group{g})[0] {
		list = append(list, e.Addr)
	}
	return fmt.Sprint(list)
}

// A name that fails keeps its last good addresses, whatever else has changed about its upstream; one that never resolved
// has none.
func TestNamesKeepLastGood(t *testing.T) {
	n := newTestNames()
	g := groupOf(conf.Upstream{Name: "a.test", Port: 1}, literal("127.0.0.9"))
	if got := n.addresses(g); got != "[127.0.0.9]" {
		t.Errorf("before the first look-up: %s", got)
	}
	n.zone["a.test"] = Answer{Addrs: []netip.Addr{netip.MustParseAddr("::1"), netip.MustParseAddr("::ffff:127.0.0.8"),
		netip.MustParseAddr("::1")}}
	if err := n.LookUp(t.Context(), []string{"a.test"}); err != nil {
		t.Fatal(err)
	}
	delete(n.zone, "a.test")
	n.Use([]*Group{g}, time.Second, time.Minute)
	err := n.LookUp(t.Context(), []string{"a.test"})
	if !errors.Is(err, errServerDown) || !strings.Contains(err.Error(), "a.test") {
		t.Errorf("error %v, want one about a.test: %v", err, errServerDown)
	}
	const want = "[127.0.0.8 ::1 127.0.0.9]"
	if got := n.addresses(g); got != want {
		t.Errorf("after a look-up that failed: %s, want %s", got, want)
	}
	if got := n.addresses(groupOf(conf.Upstream{Name: "a.test", Offset: 7}, literal("127.0.0.9"))); got != want {
		t.Errorf("in another route: %s, want %s", got, want)
	}
	n.Use(nil, time.Second, time.Minute)
	if got := n.addresses(g); got != "[127.0.0.9]" {
		t.Errorf("when no configuration had the name: %s", got)
	}
}

// dueAfter advances time by steps of a second until a name comes due, and returns how long that took.
func (n *testNames) dueAfter(t *testing.T) (waited time.Duration) {
	t.Helper()
	for len(n.Due()) == 0 {
		time.Sleep(time.Second)
		if waited += time.Second; waited > 24*time.Hour {
			t.Fatal("the name never comes due")
		}
	}
	return waited
}

// The TTL is clamped, failures double the least interval up to the most, and a success ends that.
func TestNamesComeDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTestNames()
		g := groupOf(conf.Upstream{Name: "a.test"})
		n.Use([]*Group{g}, 5*time.Second, 5*time.Minute)
		if due := n.Due(); fmt.Sprint(due) != "[a.test]" {
			t.Errorf("a name that was never looked up: due are %v", due)
		}
		check := func(when string, want time.Duration) {
			t.Helper()
			n.LookUp(t.Context(), []string{"a.test"})
			if got := n.dueAfter(t); got != want {
				t.Errorf("%s: due after %v, want %v", when, got, want)
			}
		}
		for ttl, want := range map[int]int{0: 5, 1: 5, 5: 5, 6: 6, 300: 300, 301: 300, 86400: 300} {
			n.zone["a.test"] = Answer{TTL: time.Duration(ttl) * time.Second}
			check(fmt.Sprintf("TTL %d", ttl), time.Duration(want)*time.Second)
		}
		delete(n.zone, "a.test")
		for i, want := range []int{5, 10, 20, 40, 80, 160, 300, 300} {
			check(fmt.Sprintf("failure %d", i+1), time.Duration(want)*time.Second)
		}
		for range 100 { // past what fits into any shift
			n.LookUp(t.Context(), []string{"a.test"})
		}
		check("failure 109", 300*time.Second)
		n.zone["a.test"] = Answer{TTL: time.Minute}
		check("success", time.Minute)
		delete(n.zone, "a.test")
		check("first failure after a success", 5*time.Second)
		n.Use([]*Group{g}, time.Minute, time.Hour)
		if got := n.dueAfter(t); got != 55*time.Second {
			t.Errorf("with other bounds: due after %v more, want 55s", got)
		}
		n.Use(nil, time.Second, time.Minute)
		if due := n.Due(); len(due) != 0 {
			t.Errorf("no name is in force: due are %v", due)
		}
	})
}

// A look-up that is cut off by its caller says nothing about the name; one that takes too long failed.
func TestNamesCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTestNames()
		n.lookup = func(ctx context.Context, _ string) (Answer, error) { <-ctx.Done(); return Answer{}, ctx.Err() }
		n.Use([]*Group{groupOf(conf.Upstream{Name: "a.test"})}, time.Second, time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := n.LookUp(ctx, []string{"a.test"}); !errors.Is(err, context.DeadlineExceeded) || n.Info()[0].Failures != 0 {
			t.Errorf("cut off: %v, %+v", err, n.Info())
		}
		started := time.Now()
		err := n.LookUp(t.Context(), []string{"a.test"})
		if took := time.Since(started); took != lookupTimeout || err == nil || n.Info()[0].Failures != 1 {
			t.Errorf("a server that is silent: %v after %v, %+v", err, took, n.Info())
		}
	})
}

// Info tells all that there is about the names in force.
func TestNamesInfo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTestNames()
		n.zone["a.test"] = Answer{Addrs: []netip.Addr{netip.IPv6Loopback()}, TTL: 90 * time.Second}
		g := groupOf(conf.Upstream{Name: "b.test"}, conf.Upstream{Name: "a.test"})
		n.LookUp(t.Context(), []string{"a.test", "b.test", "unused.test"})
		n.Use([]*Group{g}, 5*time.Second, time.Minute)
		resolved := time.Now()
		time.Sleep(time.Second)
		delete(n.zone, "a.test")
		n.LookUp(t.Context(), []string{"a.test"})
		a, b := n.Info()[0], n.Info()[1]
		if len(n.Info()) != 2 || a.Name != "a.test" || fmt.Sprint(a.Addresses) != "[::1]" || a.TTL != 90 ||
			!a.Resolved.Equal(resolved) || !a.Next.Equal(resolved.Add(6*time.Second)) || a.Failures != 1 ||
			a.Error != errServerDown.Error() {
			t.Errorf("a name that has resolved: %+v", a)
		}
		if b.Name != "b.test" || b.Addresses != nil || b.Resolved != nil || b.Failures != 1 || b.Error == "" {
			t.Errorf("a name that never has: %+v", b)
		}
		const metrics = `# HELP anyport_upstream_name_failures Look-ups of an upstream's DNS name that have failed since it last resolved.
# TYPE anyport_upstream_name_failures gauge
anyport_upstream_name_failures{name="a.test"} 1
anyport_upstream_name_failures{name="b.test"} 1
`
		if err := testutil.CollectAndCompare(n, strings.NewReader(metrics)); err != nil {
			t.Error(err)
		}
		n.zone["a.test"] = Answer{}
		n.LookUp(t.Context(), []string{"a.test"})
		if a := n.Info()[0]; a.Failures != 0 || a.Error != "" {
			t.Errorf("a name that resolves again: %+v", a)
		}
		if !strings.Contains(n.log.String(), "resolves again") {
			t.Errorf("the log says %q", n.log.String())
		}
	})
}
