package proxy

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"anyport/bench/netlab"
	"anyport/conf"
	"anyport/conf/rule"
	"anyport/steering"
)

// served is a destination of each family, and where its upstream is.
var served = []struct{ name, dst, upstream string }{
	{"v4", "198.18.1.2:4242", "127.0.0.2"},
	{"v6", "[2001:db8::5]:4242", "[::1]"},
}

// steered is a rig whose prefixes are local and steered to it by the kernel's program.
func steered(t *testing.T) *rig {
	t.Helper()
	return steeredWorkers(t, 1)
}

// workers heads a configuration with a number of UDP workers.
func workers(n int) string { return fmt.Sprintf("udp_workers = %d\n", n) }

// steeredWorkers is steered with a number of UDP workers.
func steeredWorkers(t *testing.T, n int) *rig {
	t.Helper()
	return steeredBy(t, workers(n))
}

// steeredBy is steered with keys of the top level.
func steeredBy(t *testing.T, keys string) *rig {
	t.Helper()
	r := newRig(t, keys+home)
	s, err := steering.Load(steering.Options{Bpffs: newBpffs(t)})
	must(t, err)
	local, err := steering.OpenLocalRoutes(steering.LocalRouteOptions{})
	must(t, err)
	t.Cleanup(func() { must(t, errors.Join(local.Remove(), local.Close(), s.Unload(), s.Close())) })
	must(t, local.Sync([]netip.Prefix{netip.MustParsePrefix("198.18.0.0/20"), netip.MustParsePrefix("2001:db8::/48")}))
	r.steerBy(s)
	return r
}

// steerBy has a program steer to the rig's sockets.
func (r *rig) steerBy(s *steering.Steering) {
	r.t.Helper()
	r.steering = s
	r.whenPublished(func(table *rule.Table) error { _, err := s.Publish(table); return err })
	listener, clients, replies := r.Sockets()
	must(r.t, errors.Join(s.Assign(conf.ServiceProxy, rule.TCP, listener), s.Assign(conf.ServiceProxy, rule.UDP, clients)))
	for i, socket := range replies {
		must(r.t, s.Assign(conf.RepliesService(i), rule.UDP, socket))
	}
}

func newBpffs(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	must(t, unix.Mount("bpf", dir, "bpf", 0, "mode=0700"))
	t.Cleanup(func() { must(t, unix.Unmount(dir, 0)) })
	return dir
}

// upstreams runs a TCP and a UDP upstream on both families that send their name, and returns the configuration that
// leads to them.
func upstreams(t *testing.T, name string, port int) string {
	t.Helper()
	text := home
	for _, s := range served {
		at := fmt.Sprintf("%s:%d", s.upstream, port)
		greeter(t, at, name)
		namer(t, at, name)
		text += fmt.Sprintf("[[route]]\nname = %q\nprefix = [%q]\nupstream = [%q]\n", s.name,
			map[string]string{"v4": "198.18.0.0/20", "v6": "2001:db8::/48"}[s.name], at)
	}
	return text
}

// namer is a UDP upstream that answers every datagram with its name.
func namer(t *testing.T, address, name string) {
	t.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(address)))
	must(t, err)
	var running sync.WaitGroup
	running.Go(func() { answerAll(c, name) })
	t.Cleanup(func() { c.Close(); running.Wait() })
}

func answerAll(c *net.UDPConn, name string) {
	buf := make([]byte, 1<<16)
	for {
		_, from, err := c.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			_, _ = c.WriteToUDPAddrPort([]byte(name), from)
		}
	}
}

// open opens a client of a served destination until the test ends. A UDP one takes answers from there alone.
func open(t *testing.T, network, dst string) net.Conn {
	t.Helper()
	c, err := net.Dial(network, dst)
	must(t, err)
	t.Cleanup(func() { c.Close() })
	must(t, c.SetDeadline(time.Now().Add(netlab.Patience)))
	return c
}

func wantAnswer(t *testing.T, c net.Conn, want string) {
	t.Helper()
	_, err := io.WriteString(c, "who?")
	must(t, err)
	buf := make([]byte, 100)
	n, err := c.Read(buf)
	must(t, err)
	if string(buf[:n]) != want {
		t.Errorf("%s answered %q, want %q", c.RemoteAddr(), buf[:n], want)
	}
}

// Through the kernel's program and back: connections and flows of both families, with a reload among them that new ones
// follow and old ones do not notice.
func TestSteered(t *testing.T) {
	r := steered(t)
	must(t, r.put(upstreams(t, "one", 7001)))
	r.run(t.Context())
	connections, flows := make(map[string]net.Conn), make(map[string]net.Conn)
	for _, s := range served {
		connections[s.dst], flows[s.dst] = open(t, "tcp", s.dst), open(t, "udp", s.dst)
		wantGreeting(t, connections[s.dst], "one")
		wantAnswer(t, flows[s.dst], "one")
	}
	must(t, r.put(upstreams(t, "two", 7002)))
	for _, s := range served {
		wantGreeting(t, open(t, "tcp", s.dst), "two")
		wantAnswer(t, open(t, "udp", s.dst), "two")
		wantEcho(t, connections[s.dst])
		wantAnswer(t, flows[s.dst], "one")
	}
	must(t, r.Stop())
	r.wantReturned()
}

// A source that the configuration lists is the one that upstreams see, whatever routing would choose, and its flows get
// their replies even after a reload that no longer lists it.
func TestSteeredFromListedSource(t *testing.T) {
	r := steered(t)
	text := home + routeOf("all", "127.0.0.2:7001")
	must(t, r.put("udp_sources = [\"127.0.0.5:10000-10099\"]\n"+text))
	r.run(t.Context())
	upstream, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 2), Port: 7001})
	must(t, err)
	defer upstream.Close()
	must(t, upstream.SetDeadline(time.Now().Add(netlab.Patience)))
	client := open(t, "udp", served[0].dst)
	_, err = io.WriteString(client, "hello")
	must(t, err)
	buf := make([]byte, 100)
	_, nat, err := upstream.ReadFromUDPAddrPort(buf)
	must(t, err)
	if nat.Addr().String() != "127.0.0.5" || nat.Port() < 10000 || nat.Port() > 10099 {
		t.Errorf("the upstream saw %s, want a port of 127.0.0.5:10000-10099", nat)
	}
	must(t, r.put(text))
	_, err = upstream.WriteToUDPAddrPort([]byte("late"), nat)
	must(t, err)
	if n, err := client.Read(buf); err != nil || string(buf[:n]) != "late" {
		t.Errorf("after the reload the client read %q, %v, want the reply", buf[:n], err)
	}
	must(t, r.Stop())
	r.wantReturned()
}
