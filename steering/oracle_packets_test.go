package steering

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"anyport/conf/rule"
	"anyport/conf/rule/ruletest"
)

// TestOracleWithPackets sends real packets, TCP and UDP, IPv4 and IPv6, through random rule sets. Every address is
// local in the namespace, and a daemon on the wildcard address listens on each packet's port: it must see what is
// passed, and nothing else.
func TestOracleWithPackets(t *testing.T) {
	const sets, packets = 50, 40
	w := newWorld(t)
	s := w.load()
	if err := w.ns.Do(makeEverythingLocal); err != nil {
		t.Fatal(err)
	}
	all := newServers(t)
	w.servers = all
	for service := range uint16(ruletest.Services) {
		w.serve(s, all, service, serviceName(service))
	}
	rng := newRand(t)
	met := make(map[string]int)
	for n := range sets {
		table := compile(t, ruletest.Random(rng))
		if _, err := s.Publish(table); err != nil {
			t.Fatalf("set %d: %v", n, err)
		}
		for sent := 0; sent < packets; {
			if w.sendRandom(rng, table, met) {
				sent++
			}
			if t.Failed() {
				t.Fatalf("set %d:\n%+v", n, table.Set())
			}
		}
	}
	t.Logf("met: %v", met)
	for _, name := range []string{
		"refused", "daemon", "service 0", "service 1", "service 2", "tcp", "udp", "v4", "v6",
	} {
		if met[name] < 20 {
			t.Errorf("%d packets met %s: the generators miss it", met[name], name)
		}
	}
}

func serviceName(service uint16) string { return fmt.Sprintf("service %d", service) }

// makeEverythingLocal makes every address of both families one of the thread's namespace.
func makeEverythingLocal() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	for _, text := range []string{"0.0.0.0/0", "::/0"} {
		_, every, err := net.ParseCIDR(text)
		if err != nil {
			return err
		}
		err = netlink.RouteAdd(&netlink.Route{LinkIndex: lo.Attrs().Index, Dst: every, Scope: unix.RT_SCOPE_HOST,
			Table: unix.RT_TABLE_LOCAL, Type: unix.RTN_LOCAL})
		if err != nil {
			return fmt.Errorf("make %s local: %w", text, err)
		}
	}
	return nil
}

// sendRandom sends one random packet and compares whom it meets with what the oracle says. It returns false for packets
// that cannot be sent.
func (w *world) sendRandom(rng *rand.Rand, table *rule.Table, met map[string]int) bool {
	w.t.Helper()
	set := table.Set()
	p, src, dst := ruletest.Packet(rng, set)
	if !isSendable(p, src, dst) {
		return false
	}
	decision := ruletest.Naive(set, p, src, dst)
	want := refused
	switch {
	case decision.Verdict == rule.Steer:
		want = serviceName(set.Rules[decision.Rule].Service)
	case decision.Verdict == rule.Pass && dst.Port() != 0:
		want = "daemon"
	}
	var got string
	err := w.ns.Do(func() error {
		close, err := w.startDaemon(p, dst.Port())
		if err != nil {
			return err
		}
		defer close()
		got, err = w.servers.reach(p, src, dst)
		return err
	})
	if errors.Is(err, unix.EADDRINUSE) { // the port is that of one of our own sockets
		return false
	}
	if err != nil || got != want {
		w.t.Errorf("%s %s -> %s met %q, %v; want %s by %s", p, src, dst, got, err, want, set.RuleName(decision.Rule))
	}
	met[got]++
	met[p.String()]++
	met[map[bool]string{true: "v4", false: "v6"}[src.Is4()]]++
	return true
}

// isSendable reports whether the kernel would send such a packet, and answer it: a UDP datagram to port 0 it would not,
// nor anything from or to addresses that are no hosts'. 127.255.255.255 is the broadcast address of lo.
func isSendable(p rule.Protocol, src netip.Addr, dst netip.AddrPort) bool {
	for _, a := range []netip.Addr{src, dst.Addr()} {
		if a.IsUnspecified() || a.IsMulticast() || a.IsLinkLocalUnicast() || a == broadcast4 {
			return false
		}
		if a.Is4() && (a.As4()[0] == 0 || a.As4()[0] >= 224) { // "this network" and the former class E
			return false
		}
	}
	return src != dst.Addr() && (p == rule.TCP || dst.Port() != 0)
}

var broadcast4 = netip.MustParseAddr("127.255.255.255")

// startDaemon listens on a port of all addresses until the returned function is called.
func (w *world) startDaemon(p rule.Protocol, port uint16) (stop func(), err error) {
	address := fmt.Sprintf("[::]:%d", port)
	switch {
	case port == 0:
		return func() {}, nil
	case p == rule.TCP:
		l, err := listenTCP(address)
		if err != nil {
			return nil, err
		}
		w.servers.tcp("daemon", l)
		return func() { l.Close() }, nil
	}
	c, err := listenUDP(address)
	if err != nil {
		return nil, err
	}
	w.servers.udp("daemon", c)
	return func() { c.Close() }, nil
}
