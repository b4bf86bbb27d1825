package tcp

import (
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"anyport/bench/netlab"
	"anyport/proxy/route"
	"anyport/proxy/sock"
	"anyport/proxy/stats"
)

// refusing returns an address where nobody listens.
func refusing(t *testing.T, addr netip.Addr) netip.AddrPort {
	s := newServer(t, addr)
	s.Close()
	return s.addr
}

// full is a listener whose accept queue has no room, so that the kernel drops SYNs to it.
type full struct {
	addr netip.AddrPort
	fd   int
}

func newFull(t *testing.T, addr netip.Addr) *full {
	t.Helper()
	l, err := sock.ListenTCP(netip.AddrPortFrom(addr, 0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	if err := unix.Listen(l.FD(), 0); err != nil {
		t.Fatal(err)
	}
	at, _ := sock.LocalAddress(l.FD())
	fd, errno := sock.Connect(at)
	if errno != 0 && errno != unix.EINPROGRESS {
		t.Fatal(errno)
	}
	t.Cleanup(func() { sock.Close(fd) })
	netlab.Eventually(t, "the accept queue is full", func() bool {
		info, err := unix.GetsockoptTCPInfo(l.FD(), unix.IPPROTO_TCP, unix.TCP_INFO)
		return err == nil && info.Unacked == 1 // of a listener: what waits to be accepted
	})
	return &full{addr: at.AddrPort(), fd: l.FD()}
}

// take accepts a connection and returns its descriptor.
func (f *full) take(t *testing.T) (fd int) {
	t.Helper()
	netlab.Eventually(t, "a connection can be accepted", func() bool {
		var errno syscall.Errno
		fd, _, errno = sock.Accept(f.fd)
		return errno == 0
	})
	return fd
}

// peer accepts a connection.
func (f *full) peer(t *testing.T) *peer {
	t.Helper()
	file := os.NewFile(uintptr(f.take(t)), "upstream")
	defer file.Close()
	c, err := net.FileConn(file)
	if err != nil {
		t.Fatal(err)
	}
	return newPeer(t, "upstream", c)
}

// sockets counts the namespace's TCP sockets in a state, which is written as in /proc/net/tcp.
func sockets(t *testing.T, state string) (n int) {
	t.Helper()
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		text, err := os.ReadFile(table)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		n += strings.Count(string(text), " "+state+" ")
	}
	return n
}

const synSent = "02"

func TestConnectFails(t *testing.T) {
	const limit = 100 * time.Millisecond
	tests := []struct {
		name      string
		reason    stats.Reason
		route     route.Route
		upstreams func(*testing.T, family) []netip.AddrPort
	}{
		{name: "refused", reason: stats.ConnectRefused, upstreams: func(t *testing.T, f family) []netip.AddrPort {
			return []netip.AddrPort{refusing(t, f.upstream)}
		}},
		{name: "all refused", reason: stats.ConnectRefused, upstreams: func(t *testing.T, f family) []netip.AddrPort {
			return []netip.AddrPort{refusing(t, f.upstream), refusing(t, f.spare), refusing(t, f.upstream)}
		}},
		{name: "timeout", reason: stats.ConnectTimeout, route: route.Route{ConnectTimeout: limit},
			upstreams: func(t *testing.T, f family) []netip.AddrPort {
				return []netip.AddrPort{newFull(t, f.upstream).addr}
			}},
		{name: "unreachable", reason: stats.ConnectUnreachable,
			upstreams: func(t *testing.T, f family) []netip.AddrPort {
				need(t, v6) // the addresses are nobody's in the namespace only
				return []netip.AddrPort{netip.AddrPortFrom(f.unreachable, 80)}
			}},
		{name: "no upstream", reason: stats.NoUpstream,
			upstreams: func(*testing.T, family) []netip.AddrPort { return nil }},
		{name: "served address", reason: stats.Loop, upstreams: func(_ *testing.T, f family) []netip.AddrPort {
			return []netip.AddrPort{netip.AddrPortFrom(f.served, 80)}
		}},
	}
	for _, path := range paths {
		for _, test := range tests {
			t.Run(path.name+"/"+test.name, func(t *testing.T) {
				need(t, path.client, path.upstream)
				to := path.upstream
				if test.reason == stats.Loop {
					to = path.client
				}
				r := newRig(t, path.client, setup{route: test.route, upstreams: test.upstreams(t, to)})
				r.dialReset()
				r.awaitEnded(test.reason, 1)
				if rec := r.records()[0]; rec.Connect != 0 || rec.BytesIn != 0 || rec.Reason != test.reason.String() ||
					!plausibleRTT(rec.ClientRTT) || rec.UpstreamRTT != 0 {
					t.Errorf("record: %+v", rec)
				}
			})
		}
	}
}

func TestConnectFailureReasons(t *testing.T) {
	for errno, want := range map[unix.Errno]stats.Reason{
		unix.ECONNREFUSED:  stats.ConnectRefused,
		unix.ETIMEDOUT:     stats.ConnectTimeout,
		unix.EHOSTUNREACH:  stats.ConnectUnreachable,
		unix.ENETUNREACH:   stats.ConnectUnreachable,
		unix.EMFILE:        stats.NoDescriptor,
		unix.ENFILE:        stats.NoDescriptor,
		unix.ENOBUFS:       stats.NoDescriptor,
		unix.ENOMEM:        stats.NoDescriptor,
		unix.EADDRNOTAVAIL: stats.NoSource,
		unix.EACCES:        stats.ConnectError,
	} {
		var c conn
		c.failedToConnect(errno)
		if c.reason != want || (want == stats.ConnectError) != (c.errno == uint16(errno)) {
			t.Errorf("%v: reason %s, errno %d kept", errno, c.reason, c.errno)
		}
	}
}

// Each connection takes the turn after the one that the last connection came through at, so that the good endpoint comes
// after all others.
func TestNextEndpointIsTried(t *testing.T) {
	for _, path := range paths {
		t.Run(path.name, func(t *testing.T) {
			need(t, path.client, path.upstream)
			up := newServer(t, path.upstream.upstream)
			r := newRig(t, path.client, setup{route: route.Route{ConnectTimeout: 100 * time.Millisecond},
				upstreams: []netip.AddrPort{refusing(t, path.upstream.spare), newFull(t, path.upstream.spare).addr,
					netip.AddrPortFrom(path.client.served, 9), up.addr}})
			for range 4 {
				client := r.dial()
				client.send(some)
				upstream := up.accept()
				upstream.expect(some)
				upstream.send(some)
				upstream.fin()
				client.expect(some)
				client.fin()
				client.expectFIN()
			}
			r.awaitEnded(stats.Done, 4)
		})
	}
}

// What a client does before the upstream has answered is passed on once it has.
func TestClientActsDuringConnect(t *testing.T) {
	tests := []struct {
		name   string
		client func(*peer)
		expect func(*peer)
		reason stats.Reason
	}{
		{"data and FIN", func(c *peer) { c.send(lots); c.fin() },
			func(u *peer) { u.expect(lots); u.expectFIN(); u.fin() }, stats.Done},
		{"RST", func(c *peer) { c.rst() }, func(u *peer) { u.expectRST() }, stats.ClientReset},
	}
	for _, path := range paths[2:] { // a second each: from one family to the other will do
		for _, test := range tests {
			t.Run(path.name+"/"+test.name, func(t *testing.T) {
				need(t, path.client, path.upstream)
				busy := newFull(t, path.upstream.upstream)
				r := newRig(t, path.client, setup{upstreams: []netip.AddrPort{busy.addr}})
				client := r.dial()
				netlab.Eventually(t, "the upstream is dialled", func() bool { return sockets(t, synSent) == 1 })
				test.client(client)
				sock.Close(busy.take(t)) // the next SYN, a second later, finds room
				upstream := busy.peer(t)
				test.expect(upstream)
				r.awaitEnded(test.reason, 1)
			})
		}
	}
}

// What a client does while connecting fails changes nothing: it is reset, and nothing of it has gone anywhere.
func TestConnectFailsBehindClient(t *testing.T) {
	clients := []struct {
		name string
		act  func(*peer)
	}{
		{"data", func(c *peer) { c.send(some); c.expectRST() }},
		{"FIN", func(c *peer) { c.fin(); c.expectAbort() }},
		{"data and FIN", func(c *peer) { c.send(some); c.fin(); c.expectAbort() }},
		{"RST", func(c *peer) { c.rst() }},
	}
	for _, path := range paths[2:] { // half a second each: from one family to the other will do
		for _, test := range clients {
			t.Run(path.name+"/"+test.name, func(t *testing.T) {
				need(t, path.client, path.upstream)
				r := newRig(t, path.client, setup{route: route.Route{ConnectTimeout: 500 * time.Millisecond},
					upstreams: []netip.AddrPort{newFull(t, path.upstream.upstream).addr}})
				test.act(r.dial())
				r.awaitEnded(stats.ConnectTimeout, 1)
				if rec := r.records()[0]; rec.BytesIn != 0 || rec.BytesOut != 0 || rec.Connect != 0 {
					t.Errorf("record: %+v", rec)
				}
			})
		}
	}
}

func TestNoRoute(t *testing.T) {
	for _, f := range []family{v4, v6} {
		t.Run(f.name, func(t *testing.T) {
			need(t, f)
			r := newRig(t, f, setup{})
			r.live.Swap(&route.Table{})
			r.live.Swap(&route.Table{}) // the table before counts as well, for a while
			r.dialReset()
			netlab.Eventually(t, "the connection is counted", func() bool {
				return stats.Sum(r.registry.Unrouted.TCP).Ended[stats.NoRoute.String()] == 1
			})
			if rec := r.records()[0]; rec.Route != "" || rec.Upstream != nil || rec.Destination != r.addr {
				t.Errorf("record: %+v", rec)
			}
		})
	}
}

// A connection keeps the route that it began with.
func TestReloadKeepsConnections(t *testing.T) {
	up, other := newServer(t, v4.upstream), newServer(t, v4.spare)
	r := newRig(t, v4, setup{upstreams: addrs(up)})
	old := r.dial()
	oldUpstream := up.accept()
	fresh := &route.Route{Name: "fresh", Stats: r.registry.Route("fresh")}
	r.claim(fresh, other.addr)
	client := r.dial()
	other.accept().send(some)
	client.expect(some)
	talk(old, oldUpstream)
	old.rst()
	oldUpstream.expectRST()
	r.awaitEnded(stats.ClientReset, 1)
	client.rst()
	netlab.Eventually(t, "the fresh route counts its own", func() bool {
		sum := stats.Sum(fresh.Stats.TCP)
		return sum.Ended[stats.ClientReset.String()] == 1 && sum.BytesOut == some && sum.Opened == 1
	})
}
