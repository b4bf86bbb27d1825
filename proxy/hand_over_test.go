package proxy

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"anyport/bench/netlab"
	"anyport/proxy/stats"
)

// manyFlows are flows of some clients, each to many destinations, and the upstreams that the test plays.
type manyFlows struct {
	t         *testing.T
	clients   []*net.UDPConn
	upstreams []*net.UDPConn
	each      int                               // flows of a client
	nat       map[netip.AddrPort]netip.AddrPort // where the upstream sees a flow's datagrams, by the flow's destination
}

// newManyFlows makes clients and an upstream of both families, for n flows in all.
func newManyFlows(t *testing.T, n int) *manyFlows {
	t.Helper()
	m := &manyFlows{t: t, each: n / 4, nat: make(map[netip.AddrPort]netip.AddrPort)}
	for _, address := range []string{"127.0.0.8:0", "127.0.0.9:0", "[::1]:0", "[::1]:0"} {
		m.clients = append(m.clients, bigSocket(t, address))
	}
	for _, address := range []string{"127.0.0.2:7001", "[::1]:7001"} {
		m.upstreams = append(m.upstreams, bigSocket(t, address))
	}
	return m
}

// manyFlowsRoutes leads each family to the upstream of the other one.
const manyFlowsRoutes = `[[route]]
name = "v4"
prefix = ["198.18.0.0/20"]
upstream = ["[::1]:7001"]
[[route]]
name = "v6"
prefix = ["2001:db8::/48"]
upstream = ["127.0.0.2:7001"]
`

// bigSocket opens a UDP socket with a buffer for ten thousand datagrams.
func bigSocket(t *testing.T, address string) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(address)))
	must(t, err)
	t.Cleanup(func() { c.Close() })
	raw, err := c.SyscallConn()
	must(t, err)
	must(t, raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 32<<20)
	}))
	must(t, err)
	must(t, c.SetDeadline(time.Now().Add(4*netlab.Patience)))
	return c
}

// destination returns where the i-th flow of client c goes.
func (m *manyFlows) destination(c, i int) netip.AddrPort {
	i += c * m.each
	if c < len(m.clients)/2 {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 18, byte(i >> 8 & 15), byte(i)}), uint16(1+i))
	}
	return netip.MustParseAddrPort(fmt.Sprintf("[2001:db8::%x]:%d", i+1, 1+i))
}

// ask sends a question on every flow.
func (m *manyFlows) ask(what string) {
	m.t.Helper()
	for c, socket := range m.clients {
		for i := range m.each {
			to := m.destination(c, i)
			_, err := socket.WriteToUDPAddrPort(fmt.Appendf(nil, "%s %s", what, to), to)
			must(m.t, err)
		}
	}
}

// answer has the upstreams answer a question on every flow. Each must come from where the flow's first one came from.
func (m *manyFlows) answer(what string) {
	m.t.Helper()
	buf := make([]byte, 100)
	for range m.each * len(m.clients) / 2 {
		for _, upstream := range m.upstreams {
			n, from, err := upstream.ReadFromUDPAddrPort(buf)
			must(m.t, err)
			kind, dst, _ := strings.Cut(string(buf[:n]), " ")
			to, err := netip.ParseAddrPort(dst)
			if err != nil || kind != what {
				m.t.Fatalf("the upstream got %q for %q: %v", buf[:n], what, err)
			}
			if m.nat[to] == (netip.AddrPort{}) {
				m.nat[to] = from
			}
			if m.nat[to] != from {
				m.t.Fatalf("the flow to %s came from %s, and now from %s", to, m.nat[to], from)
			}
			_, err = upstream.WriteToUDPAddrPort(buf[:n], from)
			must(m.t, err)
		}
	}
}

// expect reads an answer on every flow.
func (m *manyFlows) expect(what string) {
	m.t.Helper()
	buf := make([]byte, 100)
	for c, socket := range m.clients {
		missing := make(map[netip.AddrPort]bool)
		for i := range m.each {
			missing[m.destination(c, i)] = true
		}
		for len(missing) > 0 {
			n, from, err := socket.ReadFromUDPAddrPort(buf)
			if err != nil {
				m.t.Fatalf("%q: client %d misses %d answers: %v", what, c, len(missing), err)
			}
			from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
			if !missing[from] || string(buf[:n]) != fmt.Sprintf("%s %s", what, from) {
				m.t.Fatalf("client %d got %q from %s", c, buf[:n], from)
			}
			delete(missing, from)
		}
	}
}

// TestHandOver has a server with another number of workers take over from one that forwards ten thousand flows: no
// question and no answer is lost, on their way at that time or sent while no server runs, and all keep their NAT ports.
func TestHandOver(t *testing.T) {
	for _, c := range []struct{ flows, before, after int }{{10_000, 2, 3}, {10_000, 1, 1}, {1000, 4, 1}, {1000, 1, 4}, {1000, 2, 2}} {
		t.Run(fmt.Sprintf("%d flows, %d workers, then %d", c.flows, c.before, c.after), func(t *testing.T) {
			const buffers = "udp_receive_buffer = 33554432\n"
			old := steeredBy(t, workers(c.before)+buffers)
			must(t, old.put(workers(c.before)+buffers+home+manyFlowsRoutes))
			old.run(t.Context())
			m := newManyFlows(t, c.flows)
			m.ask("first")
			m.answer("first")
			m.expect("first")
			m.ask("across")

			fresh := newRig(t, workers(c.after)+buffers+home)
			fresh.steerBy(old.steering)
			must(t, fresh.put(workers(c.after)+buffers+home+manyFlowsRoutes))
			var file bytes.Buffer
			must(t, old.ExportFlows(&file))
			m.answer("across")
			m.ask("then")
			kept, ended, err := fresh.ImportFlows(&file)
			if kept != c.flows || ended != 0 || err != nil {
				t.Fatalf("%d flows taken over, %d ended: %v", kept, ended, err)
			}
			fresh.run(t.Context())
			m.expect("across")
			m.answer("then")
			m.expect("then")
			m.checkCounters(old, fresh)
			must(t, old.Stop())
			old.wantReturned()
			must(t, fresh.Stop())
			fresh.wantReturned()
		})
	}
}

// checkCounters wants all flows to have gone from one server to the other, and no datagram to be counted twice or never.
func (m *manyFlows) checkCounters(old, fresh *rig) {
	m.t.Helper()
	for _, name := range []string{"v4", "v6"} {
		before, after := stats.Sum(old.Stats().Route(name).UDP), stats.Sum(fresh.Stats().Route(name).UDP)
		flows := uint64(m.each * len(m.clients) / 2)
		if before.Active != 0 || before.Ended[stats.HandedOver.String()] != flows || after.Active != flows ||
			before.PacketsIn+after.PacketsIn != 3*flows || before.PacketsOut+after.PacketsOut != 3*flows {
			m.t.Errorf("%s: before %+v, after %+v, want %d flows", name, before, after, flows)
		}
	}
}
