package steering

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"anyport/bench/netlab"
	"anyport/conf/rule"
)

func openReturns(w *world) *ReturnPaths {
	w.t.Helper()
	r, err := OpenReturnPaths(w.opts.Netns)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { r.Close() })
	return r
}

// policy lists the namespace's rules and the routes of our table, as ip(8) shows them.
func (w *world) policy() []string {
	w.t.Helper()
	var list []string
	for _, family := range []string{"-4", "-6"} {
		for _, what := range [][]string{{"rule", "show"}, {"route", "show", "table", fmt.Sprint(ReturnTable)}} {
			out, _ := w.ns.Command("ip", append([]string{family}, what...)...).Output() // no such table: an error
			for line := range strings.Lines(string(out)) {
				list = append(list, family+" "+strings.Join(strings.Fields(line), " "))
			}
		}
	}
	slices.Sort(list)
	return list
}

func path(addr netip.Addr, first, last uint16) ReturnPath {
	return ReturnPath{addr, rule.PortRange{First: first, Last: last}}
}

// added returns the lines of b that a does not have.
func added(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(b), func(s string) bool { return slices.Contains(a, s) })
}

// TestReturnPaths adds, changes, repeats and removes, among rules and routes of others in the same table.
func TestReturnPaths(t *testing.T) {
	netlab.RequireProgram(t, "ip")
	w := newWorld(t)
	w.addPeer()
	table := fmt.Sprint(ReturnTable)
	for _, args := range []string{"rule add from 10.9.0.2 ipproto tcp sport 80 lookup " + table + " priority 97",
		"-6 rule add from fd00:9::2 lookup main priority 97", "route add 203.0.113.0/24 dev veth0 table " + table} {
		if out, err := w.ns.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s", args, err, out)
		}
	}
	before := w.policy()
	r := openReturns(w)
	up4, up6 := peerOf4.Next(), peerOf6.Next()
	const (
		rule4    = "-4 97: from 10.9.0.2 iif veth0 ipproto tcp sport 80 lookup 9797 proto 97"
		range4   = "-4 97: from 10.9.0.2 iif veth0 ipproto tcp sport 2200-2299 lookup 9797 proto 97"
		rule6    = "-6 97: from fd00:9::2 iif veth0 ipproto tcp lookup 9797 proto 97"
		default4 = "-4 local default dev lo proto 97 scope host"
		default6 = "-6 local default dev lo proto 97 metric 1024 pref medium"
	)
	for i, step := range []struct {
		paths []ReturnPath
		want  []string
	}{
		{[]ReturnPath{path(up4, 80, 80)}, []string{rule4, default4}},
		{[]ReturnPath{path(up4, 80, 80), path(up4, 2200, 2299), path(up6, 1, 65535), path(up6, 1024, 65535)},
			[]string{rule4, range4, rule6, default4, default6}},
		{[]ReturnPath{path(up6, 1, 65535)}, []string{rule6, default6}},
		{nil, nil},
		{[]ReturnPath{path(up4, 80, 80), path(netip.MustParseAddr("198.51.100.1"), 80, 80)}, []string{rule4, default4}},
	} {
		if err := r.Sync(step.paths); err != nil {
			t.Fatal(err)
		}
		slices.Sort(step.want)
		if got := added(before, w.policy()); !slices.Equal(got, step.want) {
			t.Fatalf("step %d adds\n%q\nwant\n%q", i, got, step.want)
		}
	}
	if err := openReturns(w).Sync([]ReturnPath{path(up6, 1, 65535)}); err != nil { // another process takes over
		t.Fatal(err)
	}
	if got := added(before, w.policy()); !slices.Equal(got, []string{rule6, default6}) {
		t.Errorf("after a restart there is %q", got)
	}
	if err := r.Remove(); err != nil {
		t.Fatal(err)
	}
	if after := w.policy(); !slices.Equal(after, before) {
		t.Errorf("%q is there at the end, %q was before", after, before)
	}
}

// An upstream on the host itself is refused, and nothing changes.
func TestReturnPathOfLocalUpstream(t *testing.T) {
	netlab.RequireProgram(t, "ip")
	w := newWorld(t)
	w.addPeer()
	before := w.policy()
	r := openReturns(w)
	for _, local := range []netip.Addr{peerOf4, peerOf6, netip.MustParseAddr("127.0.0.9"), netip.IPv6Loopback()} {
		err := r.Sync([]ReturnPath{path(peerOf4.Next(), 80, 80), path(local, 80, 80)})
		if !errors.Is(err, ErrLocalUpstream) {
			t.Errorf("%s: %v, want %v", local, err, ErrLocalUpstream)
		}
	}
	if after := w.policy(); !slices.Equal(after, before) {
		t.Errorf("%q is there, %q was before", after, before)
	}
}

// TestReturnPathsWatch takes rules and routes away, and moves the upstream to another device.
func TestReturnPathsWatch(t *testing.T) {
	netlab.RequireProgram(t, "ip")
	w := newWorld(t)
	w.addPeer()
	r := openReturns(w)
	before := w.policy()
	if err := r.Sync([]ReturnPath{path(peerOf4.Next(), 80, 80), path(peerOf6.Next(), 80, 80)}); err != nil {
		t.Fatal(err)
	}
	whole := w.policy()
	ctx, cancel := context.WithCancel(context.Background())
	watched := make(chan error, 1)
	go watchReturns(ctx, r, watched)
	for _, args := range []string{
		"-4 rule del priority 97", "-6 rule del priority 97", "-4 route flush table 9797", "-6 route flush table 9797",
	} {
		if out, err := w.ns.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s", args, err, out)
		}
		netlab.Eventually(t, args+" is mended", func() bool { return slices.Equal(w.policy(), whole) })
	}
	for _, args := range []string{"link add veth9 type veth peer name veth10", "link set veth9 up",
		"route add 10.9.0.2 dev veth9"} {
		if out, err := w.ns.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s", args, err, out)
		}
	}
	netlab.Eventually(t, "the rule follows its upstream", func() bool {
		rules := strings.Join(w.policy(), "\n")
		return strings.Contains(rules, "from 10.9.0.2 iif veth9 ") && !strings.Contains(rules, "from 10.9.0.2 iif veth0 ")
	})
	cancel()
	if err := <-watched; err != nil {
		t.Error(err)
	}
	if err := r.Remove(); err != nil {
		t.Fatal(err)
	}
	if after := w.policy(); !slices.Equal(after, before) {
		t.Errorf("%q is there at the end, %q was before", after, before)
	}
}

func watchReturns(ctx context.Context, r *ReturnPaths, done chan<- error) {
	done <- r.Watch(ctx, func(ReturnEvent) {})
}
