package udp

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"anyport/bench/netlab"
	"anyport/conf"
	"anyport/proxy/sock"
	"anyport/proxy/stats"
)

// joinedEcho answers datagrams with their content, and what came joined with a train of the same shape.
func joinedEcho(t *testing.T, c *net.UDPConn) {
	t.Helper()
	control(t, c, func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_UDP, unix.UDP_GRO, 1) })
	done := make(chan struct{})
	go joinedEchoLoop(c, done)
	t.Cleanup(func() { c.Close(); <-done })
}

func joinedEchoLoop(c *net.UDPConn, done chan<- struct{}) {
	defer close(done)
	buf, oob := make([]byte, sock.MaxDatagram), make([]byte, 128)
	for {
		n, m, _, from, err := c.ReadMsgUDPAddrPort(buf, oob)
		if err != nil {
			return // closed
		}
		// A received UDP_GRO is an int where a UDP_SEGMENT to send is 16 bits; both are sizes.
		var answer []byte
		if messages, err := unix.ParseSocketControlMessage(oob[:m]); err == nil && len(messages) == 1 {
			answer = segment(messages[0].Data[:2])
		}
		_, _, _ = c.WriteMsgUDPAddrPort(buf[:n], answer, from)
	}
}

// segment returns the control message that cuts a payload.
func segment(size []byte) []byte {
	b := make([]byte, unix.CmsgSpace(2))
	h := unix.Cmsghdr{Level: unix.SOL_UDP, Type: unix.UDP_SEGMENT}
	h.SetLen(unix.CmsgLen(2))
	copy(b, (*[unix.SizeofCmsghdr]byte)(unsafe.Pointer(&h))[:])
	copy(b[unix.CmsgLen(0):], size)
	return b
}

// exchangeTrain sends a train over a connected socket and checks that the same datagrams come back.
func exchangeTrain(t *testing.T, c *net.UDPConn, payload []byte, size int) {
	t.Helper()
	control(t, c, func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_UDP, unix.UDP_SEGMENT, size) })
	_, err := c.Write(payload)
	must(t, err)
	for rest := payload; len(rest) > 0; {
		want := rest[:min(size, len(rest))]
		got, _ := receive(t, c)
		if !bytes.Equal(got, want) {
			t.Fatalf("a datagram of %d bytes came back as %d others", len(want), len(got))
		}
		rest = rest[len(want):]
	}
}

// trainShapes are sizes of datagrams and of all together.
var trainShapes = []struct{ size, bytes int }{
	{1400, 1401}, {1400, 44 * 1400}, {1452, 65000}, {1000, 20000}, {100, 6400}, {1, 64}, {7, 100},
}

// TestTrains sends trains by each way through each pair of families, from a client beyond a link and from one on the
// proxy's own host, to an upstream beyond a link and to one on the proxy's own host.
func TestTrains(t *testing.T) {
	for _, way := range ways {
		for _, up := range []string{"10.2.0.2:7777", "[fd00:2::2]:7777", "127.0.0.1:7777"} {
			r := newRigBy(t, way, 1000, spec{upstream: to(up)})
			r.run(t)
			joinedEcho(t, listen(t, r.Upstream, "[::]:7777"))
			joinedEcho(t, listen(t, r.Proxy, "[::]:7777"))
			for _, client := range []*netlab.Namespace{r.Client, r.Proxy} {
				for _, dst := range []string{"198.18.3.4:80", "[2001:db8:0:5::6]:53"} {
					t.Run(fmt.Sprintf("%s: %s to %s by %s", way.name, client.Name(), dst, up), func(t *testing.T) {
						c := dial(t, client, dst)
						for _, shape := range trainShapes {
							exchangeTrain(t, c, randomBytes(shape.bytes), shape.size)
						}
					})
				}
			}
			r.checkTrains(t)
		}
	}
}

// checkTrains compares the counters with four clients' exchanges of trainShapes.
func (r *rig) checkTrains(t *testing.T) {
	t.Helper()
	want := 0
	for _, shape := range trainShapes {
		want += 4 * sock.Train{Bytes: make([]byte, shape.bytes), Size: shape.size}.Count()
	}
	shard := &r.registry.Route("0").UDP[0]
	if in, out := shard.PacketsIn.Load(), shard.PacketsOut.Load(); in != uint64(want) || out != uint64(want) {
		t.Errorf("counted %d datagrams in and %d out, want %d", in, out, want)
	}
}

// TestTrainsWhole checks that trains are not cut on their way where they need not be: the upstream gets them joined.
func TestTrainsWhole(t *testing.T) {
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			r := newRigBy(t, way, 100, echoUpstream)
			r.run(t)
			server := listen(t, r.Upstream, "[::]:7777")
			control(t, server, func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_UDP, unix.UDP_GRO, 1) })
			c := dial(t, r.Client, "198.18.0.1:443")
			control(t, c, func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_UDP, unix.UDP_SEGMENT, 1000) })
			_, err := c.Write(randomBytes(10_000))
			must(t, err)
			want := 1000
			if way.opens {
				want = 10_000
			}
			if got, _ := receive(t, server); len(got) != want {
				t.Errorf("the upstream got %d bytes at once, want %d", len(got), want)
			}
		})
	}
}

// TestTrainsSmallerMTU narrows the way to the upstream while trains pass: they are cut, and their datagrams fragmented.
func TestTrainsSmallerMTU(t *testing.T) {
	for _, way := range ways {
		r := newRigBy(t, way, 100, spec{upstream: to("[fd00:2::2]:7777")})
		r.run(t)
		joinedEcho(t, listen(t, r.Upstream, "[::]:7777"))
		c := dial(t, r.Client, "[2001:db8::1]:9")
		exchangeTrain(t, c, randomBytes(20_000), 1400)
		shell(t, r.Upstream, "ip", "link", "set", "proxy0", "mtu", "1280")
		shell(t, r.Proxy, "ip", "link", "set", "upstream0", "mtu", "1280")
		for _, size := range []int{1400, 1232, 1233, 500} {
			exchangeTrain(t, c, randomBytes(20_000), size)
		}
	}
}

// TestTrainsBehindHeaders sends trains on routes whose datagrams get a header each, or the first one of a flow.
func TestTrainsBehindHeaders(t *testing.T) {
	for _, c := range []struct {
		kind  conf.ProxyProtocol
		first int // length of the first datagram
		next  int
	}{{conf.ProxyV2, 528, 528}, {conf.ProxyV2First, 528, 500}, {conf.ProxySPP, 538, 538}} {
		r := newRig(t, 100, spec{upstream: to("10.2.0.2:7777"), proxy: c.kind})
		r.run(t)
		server := listen(t, r.Upstream, "[::]:7777")
		client := dial(t, r.Client, "198.18.0.1:443")
		control(t, client, func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_UDP, unix.UDP_SEGMENT, 500) })
		payload := randomBytes(2000)
		_, err := client.Write(payload)
		must(t, err)
		for i := range 4 {
			want := c.next
			if i == 0 {
				want = c.first
			}
			got, _ := receive(t, server)
			if len(got) != want || !bytes.Equal(got[want-500:], payload[500*i:][:500]) {
				t.Errorf("header %d: datagram %d has %d bytes, want %d", c.kind, i, len(got), want)
			}
		}
	}
}

// TestTrainsRefused counts each datagram of a train that is not forwarded.
func TestTrainsRefused(t *testing.T) {
	r := newRig(t, 100, spec{upstream: conf.Upstream{Name: "unresolved.example"}})
	r.run(t)
	c := dial(t, r.Client, "198.18.0.1:443")
	control(t, c, func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_UDP, unix.UDP_SEGMENT, 100) })
	_, err := c.Write(randomBytes(1000))
	must(t, err)
	netlab.Eventually(t, "ten datagrams to be counted", func() bool { return r.dropped(stats.DropNoFlow) == 10 })
}

// TestTrainsBesidePolicy has the proxy's host keep connections in conntrack, rewrite what leaves it, and route by marks
// in every bit: nothing of it may touch answers.
func TestTrainsBesidePolicy(t *testing.T) {
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			r := newRigBy(t, way, 100, echoUpstream)
			for bit := range 32 {
				mark := fmt.Sprintf("%#x/%#x", uint32(1)<<bit, uint32(1)<<bit)
				for _, family := range []string{"-4", "-6"} {
					shell(t, r.Proxy, "ip", family, "rule", "add", "fwmark", mark, "prohibit")
				}
			}
			shell(t, r.Proxy, "nft", `add table inet t; add chain inet t track { type filter hook output priority 0; };`+
				`add rule inet t track meta l4proto icmpv6 accept; add rule inet t track ct state established,related,new accept; add rule inet t track drop;`+
				`add chain inet t nat { type nat hook postrouting priority 100; };`+
				`add rule inet t nat oifname "client0" masquerade`)
			r.run(t)
			joinedEcho(t, listen(t, r.Upstream, "[::]:7777"))
			for _, dst := range []string{"198.18.3.4:80", "[2001:db8:0:5::6]:53"} {
				c := dial(t, r.Client, dst)
				exchange(t, c, randomBytes(100))
				exchangeTrain(t, c, randomBytes(20_000), 1400)
			}
		})
	}
}

// TestTrainsFollowLinks moves the client to a device that has come after the engine began.
func TestTrainsFollowLinks(t *testing.T) {
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			r := newRigBy(t, way, 100, echoUpstream)
			r.run(t)
			joinedEcho(t, listen(t, r.Upstream, "[::]:7777"))
			c := dial(t, r.Client, "198.18.3.4:80")
			exchangeTrain(t, c, randomBytes(20_000), 1400)
			must(t, r.Connect(
				netlab.End{In: r.Client, Name: "late", Addrs: []netip.Prefix{netip.MustParsePrefix("10.77.0.2/24")}},
				netlab.End{In: r.Proxy, Name: "late", Addrs: []netip.Prefix{netip.MustParsePrefix("10.77.0.1/24")}}))
			shell(t, r.Proxy, "ip", "route", "replace", "10.1.0.2/32", "via", "10.77.0.2")
			shell(t, r.Proxy, "ip", "link", "del", "client0")
			shell(t, r.Client, "ip", "addr", "add", "10.1.0.2/32", "dev", "late")
			shell(t, r.Client, "ip", "route", "add", "198.18.0.0/20", "via", "10.77.0.1")
			again := dial(t, r.Client, "198.18.3.4:80")
			exchangeTrain(t, again, randomBytes(20_000), 1400)
		})
	}
}
