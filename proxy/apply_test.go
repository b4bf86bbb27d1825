package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"anyport/conf/rule"
	"anyport/proxy/stats"
	"anyport/proxy/udp"
)

var errPublish = errors.New("the kernel says no")

// routeOf is the section of a route for everything.
func routeOf(name, upstream string) string {
	return fmt.Sprintf("[[route]]\nname = %q\nupstream = [%q]\n", name, upstream)
}

// claimant returns the route that claims a packet of each kind, which must be one for all of them.
func (r *rig) claimant() string {
	r.t.Helper()
	var name string
	for _, p := range []rule.Protocol{rule.TCP, rule.UDP} {
		for _, dst := range []string{"198.18.0.1:80", "[2001:db8::1]:80"} {
			at := netip.MustParseAddrPort(dst)
			found := r.live.Lookup(p, at.Addr(), at)
			if found == nil {
				r.t.Fatalf("no route claims %s/%s", dst, p)
			}
			if name != "" && name != found.Name {
				r.t.Errorf("%s/%s belongs to %s, others to %s", dst, p, found.Name, name)
			}
			name = found.Name
		}
	}
	return name
}

// The table of user space goes first; when the kernel's cannot follow, it goes back, and so do connections.
func TestApplyGoesBackWhenPublishFails(t *testing.T) {
	r := newRig(t, home)
	must(t, r.put(home+routeOf("old", greeter(t, "127.0.0.2:0", "old"))))
	r.run(t.Context())
	wantGreeting(t, r.dial(), "old")
	var during string
	r.whenPublished(func(*rule.Table) error { during = r.claimant(); return errPublish })
	fresh := home + routeOf("fresh", greeter(t, "127.0.0.2:0", "fresh"))
	if err := r.put(fresh); !errors.Is(err, errPublish) {
		t.Fatalf("Apply returned %v, want %v", err, errPublish)
	}
	if during != "fresh" {
		t.Errorf("while the kernel's table was published, packets belonged to %s, want fresh", during)
	}
	if got := r.claimant(); got != "old" {
		t.Errorf("after the failure packets belong to %s, want old", got)
	}
	if routes := r.Routes(); len(routes) != 1 || routes[0].Name != "old" {
		t.Errorf("routes in force after the failure: %v", routes)
	}
	wantGreeting(t, r.dial(), "old")
	r.whenPublished(nil)
	must(t, r.put(fresh))
	wantGreeting(t, r.dial(), "fresh")
}

// With nothing in force before, a failure leaves nothing in force.
func TestFirstApplyFails(t *testing.T) {
	r := newRig(t, home)
	r.whenPublished(func(*rule.Table) error { return errPublish })
	if err := r.put(home + routeOf("first", "127.0.0.2:7")); !errors.Is(err, errPublish) {
		t.Fatalf("Apply returned %v, want %v", err, errPublish)
	}
	dst := netip.MustParseAddrPort("198.18.0.1:80")
	if found := r.live.Lookup(rule.TCP, dst.Addr(), dst); found != nil || r.Routes() != nil {
		t.Errorf("route %v is in force", found)
	}
}

// A generation that was in force can be put back, and the one in force is not published again.
func TestApplyAgain(t *testing.T) {
	r := newRig(t, home)
	var generations []*Generation
	for _, name := range []string{"one", "two"} {
		g, err := r.Prepare(t.Context(), parse(t, home+routeOf(name, "127.0.0.2:7")))
		must(t, err)
		must(t, r.Apply(g))
		generations = append(generations, g)
	}
	must(t, r.Apply(generations[0]))
	if got := r.claimant(); got != "one" {
		t.Errorf("packets belong to %s, want one", got)
	}
	if upstreams := r.upstreams(); len(upstreams) != 1 {
		t.Errorf("upstreams of a generation that came back: %v", upstreams)
	}
	r.whenPublished(func(*rule.Table) error { return errPublish })
	must(t, r.Apply(generations[0]))
}

// A route's counters stay when its route goes, are still shown, and go on when it comes back.
func TestCountersOutliveTheirRoute(t *testing.T) {
	r := newRig(t, home)
	text := home + routeOf("a", greeter(t, "127.0.0.2:0", "a"))
	must(t, r.put(text))
	r.run(t.Context())
	wantGreeting(t, r.dial(), "a")
	must(t, r.put(home+routeOf("b", greeter(t, "127.0.0.2:0", "b"))))
	wantGreeting(t, r.dial(), "b")
	var names []string
	for _, known := range r.Stats().Routes() {
		names = append(names, known.Name)
	}
	if got := strings.Join(names, ","); got != ",a,b" {
		t.Errorf("routes with counters: %q", got)
	}
	must(t, r.put(text))
	wantGreeting(t, r.dial(), "a")
	if got := stats.Sum(r.Stats().Route("a").TCP); got.Opened != 2 {
		t.Errorf("route a counts %d connections, want 2", got.Opened)
	}
}

// A reload while DNS is down keeps what the names of each route led to.
func TestReloadKeepsLastGood(t *testing.T) {
	r := newRig(t, home)
	r.name("good.test", "127.0.0.2", "::1")
	must(t, r.put(home+routeOf("web", "good.test:80")))
	r.name("good.test")
	must(t, r.put(home+"[[route]]\nname = \"web\"\nupstream = [\"good.test:80\", \"never.test:80\", \"127.0.0.3\"]\n"))
	want := "[127.0.0.2:80 [::1]:80 127.0.0.3]"
	if got := fmt.Sprint(r.upstreams()); got != want {
		t.Errorf("upstreams %v, want %v", got, want)
	}
	if !strings.Contains(r.log.String(), "never.test") {
		t.Errorf("the log does not name the upstream that is missing:\n%s", &r.log)
	}
}

func TestPrepareObeysContext(t *testing.T) {
	r := newRig(t, home)
	ctx, cancel := context.WithCancelCause(t.Context())
	told := errors.New("told to stop")
	cancel(told)
	if _, err := r.Prepare(ctx, parse(t, home+routeOf("web", "never.test:80"))); !errors.Is(err, told) {
		t.Errorf("Prepare returned %v, want the cause %v", err, told)
	}
}

// NAT ports once taken stay ours, as flows from them may wait for replies. Other ports of the same address come beside
// them; ports that overlap cannot.
func TestSourcesStay(t *testing.T) {
	sources := func(list string) string {
		return "udp_sources = [" + list + "]\n" + home + routeOf("all", "127.0.0.2:7")
	}
	r := newRig(t, home)
	must(t, r.put(sources(`"127.0.0.5:10000-10099", "[::1]:10000-10099"`)))
	r.wantSources("127.0.0.5: 10000-10099, ::1: 10000-10099")
	must(t, r.put(sources(`"127.0.0.5:10200-10299"`)))
	r.wantSources("127.0.0.5: 10000-10099 10200-10299, ::1: 10000-10099")
	if err := r.put(sources(`"127.0.0.5:10050-10150"`)); !errors.Is(err, udp.ErrOverlaps) {
		t.Errorf("ports that overlap: %v, want %v", err, udp.ErrOverlaps)
	}
	r.wantSources("127.0.0.5: 10000-10099 10200-10299, ::1: 10000-10099")
	must(t, r.put(home+routeOf("all", "127.0.0.2:7"))) // back to what routing chooses
	r.wantSources("127.0.0.1: 10000-32767, 127.0.0.5: 10000-10099 10200-10299, ::1: 10000-10099")
}

// Only what UDP may go to takes ports of the host.
func TestTCPTakesNoSource(t *testing.T) {
	r := newRig(t, home)
	must(t, r.put(home+routeOf("web", "127.0.0.2:7")+"protocol = \"tcp\"\n"))
	r.wantSources("")
	must(t, r.put(home+routeOf("web", "127.0.0.2:7")+"protocol = \"udp\"\n"))
	r.wantSources("127.0.0.1: 10000-32767")
}

func (r *rig) wantSources(want string) {
	r.t.Helper()
	var list []string
	sources := r.ReplySources().All()
	for _, a := range []string{"127.0.0.1", "127.0.0.5", "::1"} {
		var ports []string
		for _, p := range sources[netip.MustParseAddr(a)] {
			ports = append(ports, p.String())
		}
		if ports != nil {
			list = append(list, a+": "+strings.Join(ports, " "))
		}
	}
	if got := strings.Join(list, ", "); got != want {
		r.t.Errorf("sources %q, want %q", got, want)
	}
}
