package udp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"anyport/bench/netlab"
	"anyport/conf"
	"anyport/proxy/sock"
	"anyport/proxy/stats"
)

// TestNarrowPathToClient has a router with an MTU of 1280 on the way to the client. Over IPv4 it cuts datagrams itself.
// Over IPv6 it refuses the first one: the kernel cuts those that follow, trains too, and the upstream learns the MTU.
func TestNarrowPathToClient(t *testing.T) {
	for _, way := range ways {
		for i, dst := range icmpDsts {
			for j, up := range []string{"10.2.0.2:7777", "[fd00:2::2]:7777"} {
				t.Run(fmt.Sprintf("%s: %s to %s", way.name, dst, up), func(t *testing.T) {
					r := newRigBy(t, way, 100, spec{upstream: to(up)})
					far := r.addFarClient(t)
					r.run(t)
					server := listen(t, r.Upstream, up)
					c := dial(t, far, dst)
					_, err := c.Write([]byte("?"))
					must(t, err)
					_, nat := receive(t, server)
					want := 1500
					if isIPv6 := i == 1; isIPv6 {
						want = []int{1260, 1280}[j]
						_, err := server.WriteToUDPAddrPort(randomBytes(1400), nat)
						must(t, err)
						netlab.Eventually(t, "the error to be passed on", func() bool { return r.registry.SumICMP()[stats.ICMPClientTooBig] == 1 })
					}
					if got := upstreamMTU(t, r, up, nat); got != want {
						t.Errorf("the upstream takes the path's MTU for %d, want %d", got, want)
					}
					joinedEcho(t, server)
					for _, n := range []int{1400, 0, 1232, 1233, 8000, 65507} {
						exchange(t, c, randomBytes(n))
					}
					ignorePathMTU(t, server)
					sendTrain(t, server, nat, randomBytes(3*1400), 1400)
					for range 3 {
						if got, _ := receive(t, c); len(got) != 1400 {
							t.Errorf("a datagram of %d bytes came of a train", len(got))
						}
					}
				})
			}
		}
	}
}

// ignorePathMTU has a socket send what its device carries, and with Don't Fragment (IP_PMTUDISC_PROBE in ip(7)).
func ignorePathMTU(t *testing.T, c *net.UDPConn) {
	t.Helper()
	control(t, c, func(fd int) error {
		if c.LocalAddr().(*net.UDPAddr).IP.To4() != nil {
			return unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE)
		}
		return unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_PROBE)
	})
}

// sendTrain has an upstream send a train to a NAT address and port.
func sendTrain(t *testing.T, server *net.UDPConn, nat netip.AddrPort, payload []byte, size uint16) {
	t.Helper()
	_, _, err := server.WriteMsgUDPAddrPort(payload, segment(binary.NativeEndian.AppendUint16(nil, size)), nat)
	must(t, err)
}

// upstreamMTU returns what the upstream's kernel believes of the way to a NAT address.
func upstreamMTU(t *testing.T, r *rig, upstream string, nat netip.AddrPort) int {
	t.Helper()
	return pathMTU(t, dial(t, r.Upstream, nat.String()))
}

// TestMaxDatagram has the same router, whose errors never arrive. On a route with max_datagram every answer comes, the
// first one too, alone and in trains, and we tell the upstream.
func TestMaxDatagram(t *testing.T) {
	for _, way := range ways {
		for _, dst := range icmpDsts {
			for i, up := range []string{"10.2.0.2:7777", "[fd00:2::2]:7777"} {
				t.Run(fmt.Sprintf("%s: %s to %s", way.name, dst, up), func(t *testing.T) {
					checkMaxDatagram(t, way, dst, up, []int{1260, 1280}[i])
				})
			}
		}
	}
}

func checkMaxDatagram(t *testing.T, way transmitWay, dst, up string, told int) {
	const longest = 1232
	r := newRigBy(t, way, 100, spec{upstream: to(up), longest: longest})
	far := r.addFarClient(t)
	loseErrors(t, r.Client)
	r.run(t)
	server := listen(t, r.Upstream, up)
	c := dial(t, far, dst)
	noteFragments(t, c)
	_, err := c.Write([]byte("?"))
	must(t, err)
	_, nat := receive(t, server)
	before := upstreamMTU(t, r, up, nat)
	sendTrain(t, server, nat, randomBytes(3*1400+1233), 1400)
	for _, n := range []int{1400, 1400, 1400, 1233} {
		wantCut(t, c, n, longest)
	}
	cut := uint64(4)
	for _, n := range []int{0, longest, 1233, 1400, 1452, 1453, 8000, 65507} {
		_, err = server.WriteToUDPAddrPort(randomBytes(n), nat)
		must(t, err)
		wantCut(t, c, n, longest)
		if n > longest {
			cut++
		}
	}
	if after := upstreamMTU(t, r, up, nat); before != 1500 || after != told {
		t.Errorf("the upstream took the path's MTU for %d and now for %d, want %d", before, after, told)
	}
	joinedEcho(t, server)
	exchangeTrain(t, c, randomBytes(20_000), 1200)
	if got := r.registry.Route("0").UDP[0].PacketsCut.Load(); got != cut {
		t.Errorf("%d datagrams were cut, want %d", got, cut)
	}
}

// TestMaxDatagramPastPath has a limit that is more than the path carries: once the kernel knows, it cuts to less.
func TestMaxDatagramPastPath(t *testing.T) {
	r := newRig(t, 100, spec{upstream: to("10.2.0.2:7777"), longest: 1400})
	far := r.addFarClient(t)
	r.run(t)
	server := listen(t, r.Upstream, "10.2.0.2:7777")
	c := dial(t, far, "[2001:db8::1]:9")
	_, err := c.Write([]byte("?"))
	must(t, err)
	_, nat := receive(t, server)
	_, err = server.WriteToUDPAddrPort(randomBytes(1452), nat)
	must(t, err)
	netlab.Eventually(t, "the kernel to learn the MTU", func() bool { return r.registry.SumICMP()[stats.ICMPClientTooBig] > 0 })
	echo(t, server)
	for _, n := range []int{1232, 1233, 1400, 1401, 8000, 65507} {
		exchange(t, c, randomBytes(n))
	}
}

// TestMaxDatagramBehindHeader has the upstream's datagrams bear a header each, which does not go to the client: it is told
// of a limit that has room for it, and quotes its own datagram.
func TestMaxDatagramBehindHeader(t *testing.T) {
	for i, dst := range icmpDsts {
		r := newRig(t, 100, spec{upstream: to("10.2.0.2:7777"), longest: 1232, proxy: conf.ProxySPP})
		far := r.addFarClient(t)
		loseErrors(t, r.Client)
		r.run(t)
		server, told := listen(t, r.Upstream, "10.2.0.2:7777"), rawICMP(t, r.Upstream)
		c := dial(t, far, dst)
		_, err := c.Write([]byte("?"))
		must(t, err)
		got, nat := receive(t, server)
		answer := append(got[:sppBytes:sppBytes], randomBytes(1233)...)
		_, err = server.WriteToUDPAddrPort(answer, nat)
		must(t, err)
		if got, _ := receive(t, c); !bytes.Equal(got, answer[sppBytes:]) {
			t.Errorf("%d bytes came for 1233", len(got))
		}
		var e sock.ICMPError
		netlab.Eventually(t, "the upstream to be told", func() (ok bool) { e, ok = told.Recv(); return ok })
		if e.Kind != sock.ICMPTooBig || e.MTU != 1232+sppBytes+28 || e.Src.AddrPort().String() != "10.2.0.2:7777" ||
			e.Dst.AddrPort() != nat || int(e.Length) != 8+len(answer) || !bytes.HasPrefix(answer, e.Payload) {
			t.Errorf("case %d: told %+v", i, e)
		}
		e.Payload = answer
		if sum := plainChecksum(&e); e.Checksum != sum {
			t.Errorf("the quoted checksum is %#x, want %#x", e.Checksum, sum)
		}
	}
}

// TestClientErrorBehindHeader is the same with a router's error about what has gone to the client.
func TestClientErrorBehindHeader(t *testing.T) {
	r := newRig(t, 100, spec{upstream: to("10.2.0.2:7777"), proxy: conf.ProxySPP})
	far := r.addFarClient(t)
	r.run(t)
	server, told := listen(t, r.Upstream, "10.2.0.2:7777"), rawICMP(t, r.Upstream)
	c := dial(t, far, "[2001:db8::1]:9")
	_, err := c.Write([]byte("?"))
	must(t, err)
	got, nat := receive(t, server)
	answer := append(got[:sppBytes:sppBytes], randomBytes(1300)...)
	_, err = server.WriteToUDPAddrPort(answer, nat)
	must(t, err)
	var e sock.ICMPError
	netlab.Eventually(t, "the upstream to be told", func() (ok bool) { e, ok = told.Recv(); return ok })
	if e.Kind != sock.ICMPTooBig || e.MTU != 1280+sppBytes-20 || e.Src.AddrPort().String() != "10.2.0.2:7777" ||
		e.Dst.AddrPort() != nat || int(e.Length) != 8+len(answer) || !bytes.HasPrefix(answer, e.Payload) {
		t.Errorf("told %+v", e)
	}
	e.Payload = answer
	if sum := plainChecksum(&e); e.Checksum != sum {
		t.Errorf("the quoted checksum is %#x, want %#x", e.Checksum, sum)
	}
}

// wantCut receives a datagram of n bytes. Over IPv6 it came in fragments exactly if it is longer than longest, over IPv4
// if it is longer than the link carries.
func wantCut(t *testing.T, c *net.UDPConn, n, longest int) {
	t.Helper()
	must(t, c.SetReadDeadline(time.Now().Add(patience)))
	buf, oob := make([]byte, 1<<16), make([]byte, 128)
	length, m, _, _, err := c.ReadMsgUDPAddrPort(buf, oob)
	must(t, err)
	messages, err := unix.ParseSocketControlMessage(oob[:m])
	must(t, err)
	if c.LocalAddr().(*net.UDPAddr).IP.To4() != nil {
		longest = 1280 - 28
	}
	fragment := 0
	if len(messages) > 0 {
		fragment = int(binary.NativeEndian.Uint32(messages[0].Data))
	}
	if length != n || n > longest != (fragment > 0) || fragment > 1280 {
		t.Errorf("%d bytes came for %d, in fragments of %d", length, n, fragment)
	}
}

// loseErrors has a router send no ICMP error about packets that are too big, as if they went to another node.
func loseErrors(t *testing.T, router *netlab.Namespace) {
	t.Helper()
	shell(t, router, "nft", `add table inet t; add chain inet t out { type filter hook output priority 0; };`+
		`add rule inet t out icmp type destination-unreachable drop; add rule inet t out icmpv6 type packet-too-big drop`)
}

// noteFragments has a socket tell how long the fragments of a datagram were.
func noteFragments(t *testing.T, c *net.UDPConn) {
	t.Helper()
	control(t, c, func(fd int) error {
		if c.LocalAddr().(*net.UDPAddr).IP.To4() != nil {
			return unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_RECVFRAGSIZE, 1)
		}
		return unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_RECVFRAGSIZE, 1)
	})
}
