package steering

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"anyport/bench/netlab"
)

func openRoutes(w *world, o LocalRouteOptions) *LocalRoutes {
	w.t.Helper()
	o.Netns = w.opts.Netns
	r, err := OpenLocalRoutes(o)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { r.Close() })
	return r
}

// allRoutes lists every route of the namespace in every table, as text.
func (w *world) allRoutes() []string {
	w.t.Helper()
	var list []string
	err := w.ns.Do(func() error {
		every := &netlink.Route{Table: unix.RT_TABLE_UNSPEC}
		routes, err := netlink.RouteListFiltered(netlink.FAMILY_ALL, every, netlink.RT_FILTER_TABLE)
		for _, r := range routes {
			list = append(list, fmt.Sprintf("%s dev %d table %d type %d proto %d src %s metric %d",
				r.Dst, r.LinkIndex, r.Table, r.Type, r.Protocol, r.Src, r.Priority))
		}
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	slices.Sort(list)
	return list
}

// TestLocalRoutes adds, changes, repeats and removes, among routes of others.
func TestLocalRoutes(t *testing.T) {
	w := newWorld(t)
	w.addPeer()
	netlab.Eventually(t, "the kernel has made the link's IPv6 addresses local", func() bool {
		list := strings.Join(w.allRoutes(), "\n")
		return strings.Contains(list, peerOf6.String()+"/128") && linkLocal.MatchString(list)
	})
	before := w.allRoutes()
	r := openRoutes(w, LocalRouteOptions{})
	more := netip.MustParsePrefix("203.0.113.0/24")
	for _, step := range [][]netip.Prefix{
		{prefix4, prefix6}, {prefix4, prefix6}, {prefix6, more}, {}, {prefix4, more},
	} {
		if err := r.Sync(step); err != nil {
			t.Fatal(err)
		}
		want := slices.Clone(before)
		for _, p := range step {
			want = append(want, describeLocal(p))
		}
		slices.Sort(want)
		if got := w.allRoutes(); !slices.Equal(got, want) {
			t.Fatalf("after Sync(%v) routes are\n%q\nwant\n%q", step, got, want)
		}
		missing, err := r.Missing([]netip.Prefix{prefix4, prefix6, more})
		if err != nil || len(missing) != 3-len(step) {
			t.Errorf("after Sync(%v) %v are missing, %v", step, missing, err)
		}
	}
	again := openRoutes(w, LocalRouteOptions{}) // as another process
	if err := again.Remove(); err != nil {
		t.Fatal(err)
	}
	if got := w.allRoutes(); !slices.Equal(got, before) {
		t.Fatalf("after Remove routes are\n%q\nwant\n%q", got, before)
	}
}

var linkLocal = regexp.MustCompile(`(?m)^fe80::\S+/128 `)

// describeLocal is how allRoutes shows a route of ours.
func describeLocal(p netip.Prefix) string {
	metric := 0
	if p.Addr().Is6() {
		metric = 1024 // IP6_RT_PRIO_USER
	}
	return fmt.Sprintf("%s dev 1 table %d type %d proto %d src %s metric %d",
		p, unix.RT_TABLE_LOCAL, unix.RTN_LOCAL, RouteProtocol, loopbackOf(p.Addr()), metric)
}

// TestForeignLocalRoutes leaves a local route of somebody else for a prefix of ours alone, and makes do with it.
func TestForeignLocalRoutes(t *testing.T) {
	w := newWorld(t)
	for _, p := range []netip.Prefix{prefix4, prefix6} {
		if err := w.ns.AddLocalRoute(p); err != nil {
			t.Fatal(err)
		}
	}
	before := w.allRoutes()
	r := openRoutes(w, LocalRouteOptions{})
	if missing, err := r.Missing([]netip.Prefix{prefix4, prefix6}); err != nil || len(missing) > 0 {
		t.Errorf("missing %v, %v", missing, err)
	}
	for what, err := range map[string]error{"Sync": r.Sync([]netip.Prefix{prefix4, prefix6}), "Remove": r.Remove()} {
		if got := w.allRoutes(); err != nil || !slices.Equal(got, before) {
			t.Errorf("%s: %v; routes are\n%q\nwant\n%q", what, err, got, before)
		}
	}
}

// TestPreferredSource changes the source of routes that are there, and refuses one inside its prefix.
func TestPreferredSource(t *testing.T) {
	w := newWorld(t)
	w.addPeer()
	prefixes := []netip.Prefix{prefix4, prefix6}
	if err := openRoutes(w, LocalRouteOptions{}).Sync(prefixes); err != nil {
		t.Fatal(err)
	}
	r := openRoutes(w, LocalRouteOptions{Source4: peerOf4, Source6: peerOf6})
	if err := r.Sync(prefixes); err != nil {
		t.Fatal(err)
	}
	routes, err := r.list()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range prefixes {
		if len(routes[p]) != 1 || !r.hasSource(&routes[p][0], p) {
			t.Errorf("routes for %s: %+v", p, routes[p])
		}
	}
	all := newServers(t)
	s := w.load()
	w.serve(s, all, 0, "service")
	publish(t, s, steerAll())
	for _, addr := range families {
		wantSource(t, w, addr, map[bool]netip.Addr{true: peerOf4, false: peerOf6}[addr.Is4()])
	}
	for _, p := range []netip.Prefix{netip.MustParsePrefix("10.9.0.0/30"), netip.MustParsePrefix("fd00:9::/127")} {
		if err := r.Sync([]netip.Prefix{p}); err == nil {
			t.Errorf("Sync took %s, which holds the preferred source", p)
		}
	}
	if _, err := OpenLocalRoutes(LocalRouteOptions{Netns: w.opts.Netns, Source4: peerOf6}); err == nil {
		t.Error("an IPv6 address was taken for an IPv4 source")
	}
}

// wantSource checks from which address the host dials addr.
func wantSource(t *testing.T, w *world, addr, want netip.Addr) {
	t.Helper()
	err := w.ns.Do(func() error {
		c, err := dial("tcp", netip.Addr{}, netip.AddrPortFrom(addr, 7))
		if err != nil {
			return err
		}
		defer c.Close()
		if got := c.LocalAddr().(*net.TCPAddr).AddrPort().Addr(); got != want {
			t.Errorf("dials %s from %s, want %s", addr, got, want)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestWatch takes local routes away in every way there is; Watch must put each back.
func TestWatch(t *testing.T) {
	w := newWorld(t)
	r := openRoutes(w, LocalRouteOptions{})
	prefixes := []netip.Prefix{prefix4, prefix6}
	if err := r.Sync(prefixes); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	restored := make(map[netip.Prefix]int)
	ctx, cancel := context.WithCancel(context.Background())
	watched := make(chan error, 1)
	go watch(ctx, r, watched, func(e RouteEvent) {
		mu.Lock()
		defer mu.Unlock()
		for _, p := range e.Restored {
			if e.Err == nil {
				restored[p]++
			}
		}
	})
	breaks := []func() error{
		func() error { return delLocal(prefix4) },
		func() error { return delLocal(prefix6) },
		func() error { return errors.Join(setLink(false), setLink(true)) }, // takes the IPv6 route
		func() error { return errors.Join(delLoopback(), addLoopback()) },  // takes the IPv4 route with its source
	}
	for i, break_ := range breaks {
		if err := w.ns.Do(break_); err != nil {
			t.Fatalf("break %d: %v", i, err)
		}
		netlab.Eventually(t, fmt.Sprintf("break %d is mended", i), func() bool {
			missing, err := r.Missing(prefixes)
			return err == nil && len(missing) == 0
		})
	}
	cancel()
	if err := <-watched; err != nil {
		t.Error(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if restored[prefix4] != 2 || restored[prefix6] != 2 {
		t.Errorf("restored %v, want each twice", restored)
	}
}

func watch(ctx context.Context, r *LocalRoutes, done chan<- error, report func(RouteEvent)) {
	done <- r.Watch(ctx, report)
}

func delLocal(p netip.Prefix) error {
	return netlink.RouteDel(&netlink.Route{Dst: ipNet(p), LinkIndex: 1, Table: unix.RT_TABLE_LOCAL,
		Type: unix.RTN_LOCAL, Scope: unix.RT_SCOPE_NOWHERE})
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func setLink(up bool) error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if up {
		return netlink.LinkSetUp(lo)
	}
	return netlink.LinkSetDown(lo)
}

var loopbackNet = netip.MustParsePrefix("127.0.0.1/8")

func delLoopback() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.AddrDel(lo, &netlink.Addr{IPNet: ipNet(loopbackNet)})
}

func addLoopback() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.AddrAdd(lo, &netlink.Addr{IPNet: ipNet(loopbackNet)})
}
