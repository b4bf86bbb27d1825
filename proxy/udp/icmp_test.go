package udp

import (
	"encoding/binary"
	"errors"
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

// control runs a function with a socket's descriptor.
func control(t *testing.T, c *net.UDPConn, f func(fd int) error) {
	t.Helper()
	raw, err := c.SyscallConn()
	must(t, err)
	var failed error
	must(t, raw.Control(func(fd uintptr) { failed = f(int(fd)) }))
	must(t, failed)
}

// wantError sends datagrams over a connected socket until it reports an error, which must be the one wanted. An upstream's
// kernel limits the errors that it sends, so the first datagram need not earn one.
func wantError(t *testing.T, c *net.UDPConn, want unix.Errno) {
	t.Helper()
	netlab.Eventually(t, want.Error(), func() bool {
		_, err := c.Write([]byte("?"))
		if err == nil {
			must(t, c.SetReadDeadline(time.Now().Add(100*time.Millisecond)))
			_, err = c.Read(make([]byte, 100))
		}
		if err != nil && !errors.Is(err, want) && !errors.Is(err, unix.ETIMEDOUT) && !isTimeout(err) {
			t.Fatalf("the socket reports %v, want %v", err, want)
		}
		return errors.Is(err, want)
	})
}

func isTimeout(err error) bool {
	var netErr net.Error
	return errors.As(err, &netErr) && netErr.Timeout()
}

var icmpDsts = []string{"198.18.0.1:9", "[2001:db8::1]:9"}

// TestRefusedUpstream has clients of both families, beyond a link and on the proxy's host, talk to a port that nobody
// listens on, beside a flow that works.
func TestRefusedUpstream(t *testing.T) {
	for _, up := range []string{"10.2.0.2:9", "[fd00:2::2]:9", "127.0.0.1:9", "[::1]:9"} {
		r := newRig(t, 100, spec{upstream: to(up)}, spec{prefix: netip.MustParsePrefix("198.18.3.0/24"), upstream: to("10.2.0.2:7777")})
		r.run(t)
		echo(t, listen(t, r.Upstream, "[::]:7777"))
		works := dial(t, r.Client, "198.18.3.1:9")
		exchange(t, works, []byte("before"))
		ended := uint64(0)
		for _, client := range []*netlab.Namespace{r.Client, r.Proxy} {
			for _, dst := range icmpDsts {
				wantError(t, dial(t, client, dst), unix.ECONNREFUSED)
				netlab.Eventually(t, "the flow to end", func() bool { return r.ended("0", stats.UpstreamRefused) > ended })
				ended = r.ended("0", stats.UpstreamRefused)
			}
		}
		exchange(t, works, []byte("after"))
		if n := r.ended("1", stats.UpstreamRefused); n != 0 || r.registry.SumICMP()[stats.ICMPRefused] != ended {
			t.Errorf("%d flows that work have ended, %d others; ICMP: %v", n, ended, r.registry.SumICMP())
		}
	}
}

// TestNoHostUpstream has an upstream whose address has no neighbour. Only sockets that ask for it are told of such errors,
// which may pass (ip(7), IP_RECVERR).
func TestNoHostUpstream(t *testing.T) {
	for _, up := range []string{"10.2.0.99:9", "[fd00:2::99]:9"} {
		r := newRig(t, 100, spec{upstream: to(up)})
		for _, family := range []string{"ipv4", "ipv6"} {
			must(t, r.Proxy.Sysctl("net."+family+".neigh.upstream0.retrans_time_ms", "50"))
		}
		r.run(t)
		for i, dst := range icmpDsts {
			c := dial(t, r.Client, dst)
			control(t, c, func(fd int) error {
				if i == 0 {
					return unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_RECVERR, 1)
				}
				return unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_RECVERR, 1)
			})
			wantError(t, c, unix.EHOSTUNREACH)
		}
		netlab.Eventually(t, "both flows to end", func() bool {
			return r.ended("0", stats.UpstreamUnreachable) >= 2 && r.registry.SumICMP()[stats.ICMPUnreachable] >= 2
		})
	}
}

// TestProhibitedUpstream has a router that rejects what goes to the upstream.
func TestProhibitedUpstream(t *testing.T) {
	for i, up := range []string{"10.3.0.2:9", "[fd00:3::2]:9"} {
		r := newRig(t, 100)
		r.addRouter(t)
		r.route(t, spec{upstream: to(up)})
		shell(t, r.Upstream, "ip", "route", "add", "prohibit", []string{"10.3.0.2", "fd00:3::2"}[i])
		r.run(t)
		send(t, r, icmpDsts[i])
		netlab.Eventually(t, "the flow to end", func() bool { return r.ended("0", stats.UpstreamUnreachable) == 1 })
	}
}

// addRouter makes the upstream's namespace a router to a further one, beyond a link of MTU 1280.
func (r *rig) addRouter(t *testing.T) (far *netlab.Namespace) {
	t.Helper()
	far = r.extend(t, r.Upstream, "far", 3)
	must(t, r.Proxy.AddRoute(netip.MustParsePrefix("10.3.0.0/24"), netlab.Upstream4))
	must(t, r.Proxy.AddRoute(netip.MustParsePrefix("fd00:3::/64"), netlab.Upstream6))
	must(t, far.AddRoute(netip.MustParsePrefix("10.2.0.0/24"), netip.MustParseAddr("10.3.0.1")))
	must(t, far.AddRoute(netip.MustParsePrefix("fd00:2::/64"), netip.MustParseAddr("fd00:3::1")))
	return far
}

// addFarClient makes the client's namespace a router to a further one, beyond a link of MTU 1280.
func (r *rig) addFarClient(t *testing.T) (far *netlab.Namespace) {
	t.Helper()
	far = r.extend(t, r.Client, "farclient", 4)
	must(t, r.Proxy.AddRoute(netip.MustParsePrefix("10.4.0.0/24"), netlab.Client4))
	must(t, r.Proxy.AddRoute(netip.MustParsePrefix("fd00:4::/64"), netlab.Client6))
	must(t, far.AddRoute(netlab.Prefix4, netip.MustParseAddr("10.4.0.1")))
	must(t, far.AddRoute(netlab.Prefix6, netip.MustParseAddr("fd00:4::1")))
	return far
}

// extend makes a namespace a router to a new one, beyond a link of MTU 1280 with the networks 10.NET.0.0/24 and
// fd00:NET::/64.
func (r *rig) extend(t *testing.T, router *netlab.Namespace, name string, net int) *netlab.Namespace {
	t.Helper()
	far, err := r.Lab.Add(name)
	must(t, err)
	end := func(ns *netlab.Namespace, name string, host int) netlab.End {
		return netlab.End{In: ns, Name: name, Addrs: []netip.Prefix{netip.MustParsePrefix(fmt.Sprintf("10.%d.0.%d/24", net, host)),
			netip.MustParsePrefix(fmt.Sprintf("fd00:%d::%d/64", net, host))}}
	}
	must(t, r.Lab.Connect(end(router, "far0", 1), end(far, "router0", 2)))
	must(t, router.Sysctl("net.ipv4.ip_forward", "1"))
	must(t, router.Sysctl("net.ipv6.conf.all.forwarding", "1"))
	shell(t, router, "ip", "link", "set", "far0", "mtu", "1280")
	shell(t, far, "ip", "link", "set", "router0", "mtu", "1280")
	return far
}

// pathMTU returns what the client's kernel believes of the way that a connected socket's datagrams take.
func pathMTU(t *testing.T, c *net.UDPConn) (mtu int) {
	t.Helper()
	control(t, c, func(fd int) (err error) {
		if c.LocalAddr().(*net.UDPAddr).IP.To4() != nil {
			mtu, err = unix.GetsockoptInt(fd, unix.SOL_IP, unix.IP_MTU)
		} else {
			mtu, err = unix.GetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_MTU)
		}
		return err
	})
	return mtu
}

// awaitTooLong waits for what a connected socket reports about a datagram that was too big, and takes it away.
func awaitTooLong(t *testing.T, c *net.UDPConn) {
	t.Helper()
	netlab.Eventually(t, "the client's socket to be told", func() (told bool) {
		control(t, c, func(fd int) error {
			errno, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
			told = unix.Errno(errno) == unix.EMSGSIZE
			return err
		})
		return told
	})
}

// TestNarrowPath has a router with an MTU of 1280 on the way to the upstream. Over IPv4 it cuts datagrams itself. Over
// IPv6 it refuses the first one: the proxy's kernel cuts those that follow, and the client learns the MTU.
func TestNarrowPath(t *testing.T) {
	for i, up := range []string{"10.3.0.2:7777", "[fd00:3::2]:7777"} {
		for j, dst := range icmpDsts {
			t.Run(dst+" to "+up, func(t *testing.T) {
				r := newRig(t, 100)
				far := r.addRouter(t)
				r.route(t, spec{upstream: to(up)})
				r.run(t)
				echo(t, listen(t, far, "[::]:7777"))
				c := dial(t, r.Client, dst)
				want := 1500
				if isIPv6 := i == 1; isIPv6 {
					_, err := c.Write(randomBytes(1400))
					must(t, err)
					want = []int{1260, 1280}[j]
					netlab.Eventually(t, "the client to learn the MTU", func() bool { return pathMTU(t, c) == want })
					awaitTooLong(t, c)
				}
				for _, n := range []int{1400, 0, 1232, 1233, 8000, 65507} {
					exchange(t, c, randomBytes(n))
				}
				if got := pathMTU(t, c); got != want {
					t.Errorf("the client takes the path's MTU for %d, want %d", got, want)
				}
				if r.engine.Active() != 1 {
					t.Error("the flow has not outlived the error")
				}
			})
		}
	}
}

// rawICMP opens sockets for ICMP errors in a namespace until the test ends.
func rawICMP(t *testing.T, ns *netlab.Namespace) *sock.RawICMP {
	t.Helper()
	var raw *sock.RawICMP
	must(t, ns.Do(func() (err error) {
		raw, err = sock.OpenRawICMP()
		return err
	}))
	t.Cleanup(func() { must(t, raw.Close()) })
	return raw
}

// TestRelayedQuote has the upstream's host send errors about what it got from routes with each header, and reads what the
// client is told: it must be about the datagram that the client has sent, to the last bit.
func TestRelayedQuote(t *testing.T) {
	for _, kind := range []conf.ProxyProtocol{conf.ProxyNone, conf.ProxyV2, conf.ProxyV2First, conf.ProxySPP} {
		for i, dst := range icmpDsts {
			for _, up := range []string{"10.2.0.2:7777", "[fd00:2::2]:7777"} {
				t.Run(fmt.Sprintf("header %d, %s to %s", kind, dst, up), func(t *testing.T) {
					r := newRig(t, 100, spec{upstream: to(up), proxy: kind})
					r.run(t)
					server, router, told := listen(t, r.Upstream, up), rawICMP(t, r.Upstream), rawICMP(t, r.Client)
					c := dial(t, r.Client, dst)
					for n, payload := range [][]byte{randomBytes(200), randomBytes(201)} {
						_, err := c.Write(payload)
						must(t, err)
						got, nat := receive(t, server)
						e := sock.ICMPError{Kind: sock.ICMPTooBig, MTU: 1480, Src: sock.AddrFrom(nat), HopLimit: 60,
							Dst: sock.AddrFrom(netip.MustParseAddrPort(up)), Length: uint16(8 + len(got)), Payload: got}
						e.Checksum = plainChecksum(&e)
						must(t, router.Send(&e))
						var relayed sock.ICMPError
						netlab.Eventually(t, "the client to be told", func() (ok bool) {
							relayed, ok = told.Recv()
							return ok
						})
						awaitTooLong(t, c)
						wantMTU := 1480 - (len(got) - len(payload))
						switch {
						case i == 0 && up[0] == '[':
							wantMTU -= 20
						case i == 1 && up[0] != '[':
							wantMTU += 20
						}
						if relayed.Src.AddrPort() != c.LocalAddr().(*net.UDPAddr).AddrPort() ||
							relayed.Dst.AddrPort() != netip.MustParseAddrPort(dst) || string(relayed.Payload) != string(payload) ||
							relayed.Length != uint16(8+len(payload)) || relayed.Checksum != plainChecksum(&relayed) ||
							relayed.Kind != sock.ICMPTooBig || relayed.MTU != wantMTU {
							t.Errorf("datagram %d: relayed %+v, MTU should be %d", n, relayed, wantMTU)
						}
					}
				})
			}
		}
	}
}

// plainChecksum returns the checksum of a datagram that an error quotes whole, as RFC 768 says it.
func plainChecksum(e *sock.ICMPError) uint16 {
	var b []byte
	for _, a := range []sock.Addr{e.Src, e.Dst} {
		b = append(b, a.AddrPort().Addr().AsSlice()...)
	}
	b = binary.BigEndian.AppendUint16(b, unix.IPPROTO_UDP)
	for _, n := range []uint16{e.Length, e.Src.Port, e.Dst.Port, e.Length} {
		b = binary.BigEndian.AppendUint16(b, n)
	}
	b = append(append(b, e.Payload...), 0)
	sum := uint32(0)
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	if sum == 0xffff {
		return 0xffff
	}
	return ^uint16(sum)
}

// TestForgedErrors sends errors that name a flow's NAT port but another upstream, and NAT ports without a flow.
func TestForgedErrors(t *testing.T) {
	for i, up := range []string{"10.2.0.2:7777", "[fd00:2::2]:7777"} {
		r := newRig(t, 100, spec{upstream: to(up)})
		r.run(t)
		server, router := listen(t, r.Upstream, up), rawICMP(t, r.Upstream)
		c := dial(t, r.Client, icmpDsts[i])
		_, err := c.Write([]byte("?"))
		must(t, err)
		_, nat := receive(t, server)
		upstream := netip.MustParseAddrPort(up)
		unused := netip.AddrPortFrom(nat.Addr(), natPorts.First+(nat.Port()-natPorts.First+1)%1000)
		for _, about := range [][2]netip.AddrPort{
			{nat, netip.AddrPortFrom(upstream.Addr(), 7778)},
			{nat, netip.AddrPortFrom(upstream.Addr().Next(), 7777)},
			{unused, upstream},
			{netip.AddrPortFrom(nat.Addr(), 53), upstream}, // nobody's: not counted
		} {
			must(t, router.Send(&sock.ICMPError{Src: sock.AddrFrom(about[0]), Dst: sock.AddrFrom(about[1]), Length: 8}))
		}
		netlab.Eventually(t, "three strays", func() bool { return r.registry.SumICMP()[stats.ICMPStray] == 3 })
		_, err = server.WriteToUDPAddrPort([]byte("answer"), nat)
		must(t, err)
		if got, _ := receive(t, c); string(got) != "answer" {
			t.Fatalf("the client got %q", got)
		}
	}
}

// TestICMPBudget spends more than there is.
func TestICMPBudget(t *testing.T) {
	var b icmpBudget
	for now := tick(0); now < 3; now++ {
		acted := 0
		for range 2 * icmpPerTick {
			if b.spend(now) {
				acted++
			}
		}
		if acted != icmpPerTick {
			t.Errorf("%d errors acted upon in a tick, want %d", acted, icmpPerTick)
		}
	}
}
