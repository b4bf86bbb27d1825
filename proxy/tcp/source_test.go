package tcp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"anyport/proxy/route"
	"anyport/proxy/stats"
)

// pool is addresses of the host for a route to send from.
var pool = map[string]route.Sources{
	v4.name: route.NewSources([]netip.Addr{netip.MustParseAddr("127.0.0.11"), netip.MustParseAddr("127.0.0.12"),
		netip.MustParseAddr("127.0.0.13")}),
	v6.name: route.NewSources([]netip.Addr{netip.MustParseAddr("fd00:a::11"), netip.MustParseAddr("fd00:a::12"),
		netip.MustParseAddr("fd00:a::13")}),
}

const portsLeft = 4 // ports that narrowPorts leaves to each source and destination

// narrowPorts lets the kernel choose among few source ports until the test ends.
func narrowPorts(t *testing.T) {
	t.Helper()
	need(t, v6) // it is the namespace's
	const path, first = "/proc/sys/net/ipv4/ip_local_port_range", 40000
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	setRange := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0); err != nil {
			t.Fatal(err)
		}
	}
	setRange(fmt.Sprint(first, " ", first+portsLeft-1))
	t.Cleanup(func() { setRange(string(before)) })
}

// clientPort is the port that the last client of these tests has taken: they leave the few of the kernel alone.
var clientPort = 20000

// dialAside connects a client from a port of its own choice.
func (r *rig) dialAside() (*peer, error) {
	r.t.Helper()
	clientPort++
	local := net.TCPAddrFromAddrPort(netip.AddrPortFrom(r.addr.Addr(), uint16(clientPort)))
	dialer := &net.Dialer{LocalAddr: local, Timeout: patience, Control: reuseAddress}
	c, err := dialer.Dial("tcp", r.addr.String())
	if err != nil {
		return nil, err
	}
	return newPeer(r.t, "client", c), nil
}

// reuseAddress lets another socket of this host have the client's address and port, as for a client of another host.
func reuseAddress(_, _ string, c syscall.RawConn) (err error) {
	control := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) })
	return errors.Join(control, err)
}

// through connects a client, and returns it with the connection that reaches an upstream.
func (r *rig) through(up *server) (client, upstream *peer) {
	r.t.Helper()
	client, err := r.dialAside()
	if err != nil {
		r.t.Fatal(err)
	}
	return client, up.accept()
}

// wantNoSource connects a client that finds every port taken.
func (r *rig) wantNoSource() {
	r.t.Helper()
	client, err := r.dialAside()
	switch {
	case err == nil:
		client.expectRST()
	case !errors.Is(err, syscall.ECONNRESET):
		r.t.Fatal(err)
	}
	r.awaitEnded(stats.NoSource, 1)
}

// from returns the address that a connection has come from.
func (p *peer) from() netip.Addr { return p.RemoteAddr().(*net.TCPAddr).AddrPort().Addr() }

// TestSourcePool fills every port of every source towards one upstream. They carry alike; what does not fit any more
// goes to the next upstream, or ends for want of a source.
func TestSourcePool(t *testing.T) {
	for _, path := range paths {
		t.Run(path.name, func(t *testing.T) {
			need(t, path.client, path.upstream)
			testSourcePool(t, path.client, path.upstream)
		})
	}
}

func testSourcePool(t *testing.T, from, to family) {
	up, spare := newServer(t, to.upstream), newServer(t, to.spare)
	sources := pool[to.name]
	r := newRig(t, from, setup{route: route.Route{Sources: sources, ConnectTimeout: time.Minute}, upstreams: addrs(up), workers: 1})
	narrowPorts(t)
	list := sources.Towards(to.upstream)
	carried := make(map[netip.Addr]int)
	var open []*peer
	for range portsLeft * len(list) {
		client, upstream := r.through(up)
		carried[upstream.from()]++
		client.send(some)
		upstream.expect(some)
		open = append(open, client, upstream)
	}
	for _, a := range list {
		if carried[a] != portsLeft {
			t.Errorf("source %s carries %d connections, want %d", a, carried[a], portsLeft)
		}
	}
	r.wantNoSource()
	r.redirect(up.addr, spare.addr)
	client, upstream := r.through(spare)
	if carried[upstream.from()] == 0 {
		t.Errorf("the second upstream is reached from %s", upstream.from())
	}
	client.rst()
	for _, p := range open {
		p.rst()
	}
}

// An upstream of a family that the pool does not have is reached from the address that the host's routes choose, and an
// address that is not the host's is passed over.
func TestSourcePoolOfOtherFamily(t *testing.T) {
	need(t, v6)
	foreign := netip.MustParseAddr("198.51.100.7")
	for _, c := range []struct {
		to      family
		sources []netip.Addr
		want    netip.Addr
	}{
		{v4, pool[v6.name].V6, netip.MustParseAddr("127.0.0.1")},
		{v6, pool[v4.name].V4, v6.upstream},
		{v4, []netip.Addr{foreign, pool[v4.name].V4[0]}, pool[v4.name].V4[0]},
	} {
		t.Run(c.want.String(), func(t *testing.T) {
			up := newServer(t, c.to.upstream)
			r := newRig(t, v4, setup{route: route.Route{Sources: route.NewSources(c.sources)}, upstreams: addrs(up)})
			for range 4 {
				client := r.dial()
				if a := up.accept().from(); a != c.want {
					t.Errorf("%s is reached from %s, want %s", c.to.upstream, a, c.want)
				}
				client.rst()
			}
		})
	}
}

// Without a source of its own a route has the ports of the address that routing chooses.
func TestSourcePortsExhausted(t *testing.T) {
	up := newServer(t, v4.upstream)
	r := newRig(t, v4, setup{upstreams: addrs(up)})
	narrowPorts(t)
	var open []*peer
	for range portsLeft {
		client, upstream := r.through(up)
		open = append(open, client, upstream)
	}
	r.wantNoSource()
	for _, p := range open {
		p.rst()
	}
}

// A source has all its ports for each upstream: none is taken before the kernel knows the destination.
func TestSourcePortsForEachUpstream(t *testing.T) {
	for _, f := range []family{v4, v6} {
		t.Run(f.name, func(t *testing.T) {
			need(t, f)
			servers := []*server{newServer(t, f.upstream), newServer(t, f.spare), newServer(t, f.upstream)}
			one := route.NewSources(pool[f.name].Towards(f.upstream)[:1])
			r := newRig(t, f, setup{route: route.Route{Sources: one}})
			narrowPorts(t)
			var open []*peer
			for _, up := range servers {
				r.redirect(up.addr)
				for range portsLeft {
					client, upstream := r.through(up)
					open = append(open, client, upstream)
				}
			}
			for _, p := range open {
				p.rst()
			}
		})
	}
}
