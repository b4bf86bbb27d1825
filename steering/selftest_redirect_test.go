package steering

import (
	"fmt"
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"anyport/bench/netlab"
	"anyport/conf/rule"
)

// TestSelftestRedirect steers packets to a socket that is bound elsewhere: to another port, to another address, and to
// a socket of the other IP version. What no rule claims goes its normal way or is dropped, for every protocol and
// version: "UDP IPv6 drop" is among the rows.
func TestSelftestRedirect(t *testing.T) {
	const port, otherPort = 7007, 7008
	near4, near6 := netip.MustParseAddr("198.18.0.1"), netip.MustParseAddr("2001:db8::1")
	to4, to6 := netip.AddrPortFrom(near4, port), netip.AddrPortFrom(near6, port)
	for _, c := range []struct {
		name   string
		bound  string // the server's address
		family int
		rule   rule.Rule
		dst    netip.AddrPort
		met    string
	}{
		{"IPv4 redir port", "198.18.0.1:7008", unix.AF_INET, steerPort(port), to4, "server"},
		{"IPv4 redir addr", "127.0.0.2:7007", unix.AF_INET, steerPort(port), to4, "server"},
		{"IPv6 redir port", "[2001:db8::1]:7008", unix.AF_INET6, steerPort(port), to6, "server"},
		{"IPv6 redir addr", "[::1]:7007", unix.AF_INET6, steerPort(port), to6, "server"},
		{"IPv4->IPv6 redir port", "[::ffff:198.18.0.1]:7008", unix.AF_INET6, steerPort(port), to4, "server"},
		{"IPv4->IPv6 wildcard", "[::]:7008", unix.AF_INET6, steerPort(port), to4, "server"},
		{"IPv6->IPv4-mapped", home, unix.AF_INET6, steerPort(port), to6, "server"},
		{"IPv4 other port is not redirected", home, unix.AF_INET6, steerPort(port),
			netip.AddrPortFrom(near4, otherPort), refused},
		{"IPv6 other port is not redirected", home, unix.AF_INET6, steerPort(port),
			netip.AddrPortFrom(near6, otherPort), refused},
		{"IPv4 drop", "198.18.0.1:7007", unix.AF_INET, verdictFor(rule.Refuse), to4, refused},
		{"IPv6 drop", "[2001:db8::1]:7007", unix.AF_INET6, verdictFor(rule.Refuse), to6, refused},
		{"IPv4 pass", "198.18.0.1:7007", unix.AF_INET, verdictFor(rule.Pass), to4, "server"},
		{"IPv6 pass", "[2001:db8::1]:7007", unix.AF_INET6, verdictFor(rule.Pass), to6, "server"},
	} {
		for _, p := range both {
			t.Run(fmt.Sprint(p, " ", c.name), func(t *testing.T) {
				w := newWorld(t)
				s := w.load()
				w.makeLocal(prefix4, prefix6)
				w.servers = newServers(t)
				w.serveAt(s, p, c.family, c.bound)
				publish(t, s, rule.Set{Prefixes: served(), Rules: []rule.Rule{c.rule}})
				if who := w.servers.who(w.ns, p, netip.Addr{}, c.dst); who != c.met {
					t.Errorf("%s met %q, want %q", c.dst, who, c.met)
				}
			})
		}
	}
}

// steerPort steers one port to service 0.
func steerPort(port uint16) rule.Rule {
	return rule.Rule{Name: "redirect", Ports: []rule.PortRange{{First: port, Last: port}}, Verdict: rule.Steer,
		Fallback: rule.NoService}
}

// verdictFor refuses or passes everything.
func verdictFor(v rule.Verdict) rule.Rule {
	return rule.Rule{Name: "verdict", Verdict: v, Service: rule.NoService, Fallback: rule.NoService}
}

// serveAt opens a server at an address and puts it into the slot of service 0.
func (w *world) serveAt(s *Steering, p rule.Protocol, family int, address string) {
	w.t.Helper()
	var fd int
	err := w.ns.Do(func() (err error) {
		if family == unix.AF_INET6 {
			fd, err = openSocket(socketTypes[p], address, false)
			return err
		}
		at := netip.MustParseAddrPort(address)
		if fd, err = unix.Socket(family, socketTypes[p]|socketFlags, 0); err != nil {
			return err
		}
		return unix.Bind(fd, &unix.SockaddrInet4{Addr: at.Addr().As4(), Port: int(at.Port())})
	})
	if err != nil {
		w.t.Fatal(err)
	}
	assign(w.t, s, 0, p, w.run(p, fd, "server"))
}

// TestSelftestConnectedUDP checks that a connected UDP socket keeps its peer's packets, and only those.
func TestSelftestConnectedUDP(t *testing.T) {
	for _, addr := range families {
		t.Run(addr.String(), func(t *testing.T) {
			w := newWorld(t)
			s := w.load()
			w.makeLocal(prefix4, prefix6)
			all := newServers(t)
			w.serve(s, all, 0, "service")
			publish(t, s, steerAll())
			at := netip.AddrPortFrom(addr, 7007)
			err := w.ns.Do(func() error {
				peer, err := net.ListenUDP("udp", nil)
				if err != nil {
					return err
				}
				defer peer.Close()
				from := netip.AddrPortFrom(loopbackOf(addr), peer.LocalAddr().(*net.UDPAddr).AddrPort().Port())
				connected, err := dialFrom(at, from)
				if err != nil {
					return err
				}
				defer connected.Close()
				all.udp("connected", connected)
				if who, err := all.reach(rule.UDP, netip.Addr{}, at); who != "service" {
					return fmt.Errorf("a stranger met %q, %w", who, err)
				}
				if _, err := peer.WriteToUDPAddrPort([]byte("from the peer"), at); err != nil {
					return err
				}
				netlab.Eventually(t, "the peer's datagram arrives", func() bool {
					who, ok := all.arrivals.Load("from the peer")
					return ok && who == "connected"
				})
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

func loopbackOf(addr netip.Addr) netip.Addr {
	if addr.Is4() {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return netip.IPv6Loopback()
}

// dialFrom connects a UDP socket bound to an anycast address to its peer.
func dialFrom(local, peer netip.AddrPort) (*net.UDPConn, error) {
	d := net.Dialer{LocalAddr: net.UDPAddrFromAddrPort(local), Control: freebind}
	c, err := d.Dial("udp", peer.String())
	if err != nil {
		return nil, err
	}
	return c.(*net.UDPConn), nil
}

// TestSelftestIngress checks which interface a program is told (ingress_ifindex, Linux 5.17): that of the link, lo for
// addresses that are local by route, and for the host's own packets to its address on a link, which go through lo, the
// link again.
func TestSelftestIngress(t *testing.T) {
	const lo = 1
	w := newWorld(t)
	w.makeLocal(prefix4, prefix6)
	peer := w.addPeer()
	veth := w.linkIndex("veth0")
	onLink := []netip.Addr{peerOf4, peerOf6}
	for _, c := range []struct {
		name    string
		from    *netlab.Namespace
		to      []netip.Addr
		ingress int
	}{
		{"from the link", peer, onLink, veth},
		{"from the host to a local prefix", w.ns, families, lo},
		{"from the host to the loopback address", w.ns, []netip.Addr{loopbackOf(anycast4), loopbackOf(anycast6)}, lo},
		{"from the host to its address on the link", w.ns, onLink, veth},
	} {
		for _, wanted := range []int{lo, veth} {
			t.Run(fmt.Sprint(c.name, ", program wants ", wanted), func(t *testing.T) {
				f := newForeignWorld(&world{t: t, ns: w.ns, opts: w.opts, servers: newServers(t)})
				f.attach(f.program(foreignSpec{verdict: skPass, ifindex: wanted}))
				f.listenEverywhere(7)
				want := refused
				if c.ingress == wanted {
					want = "daemon"
				}
				for _, addr := range c.to {
					for _, p := range both {
						if who := f.servers.who(c.from, p, netip.Addr{}, netip.AddrPortFrom(addr, 7)); who != want {
							t.Errorf("%s %s met %q, want %q", p, addr, who, want)
						}
					}
				}
			})
		}
	}
}

// The addresses of a world on the link to its peer.
var (
	peerOf4 = netip.MustParseAddr("10.9.0.1")
	peerOf6 = netip.MustParseAddr("fd00:9::1")
)

// addPeer adds a namespace behind a link, veth0.
func (w *world) addPeer() *netlab.Namespace {
	w.t.Helper()
	peer, err := w.lab.Add("peer")
	if err == nil {
		err = w.lab.Connect(
			netlab.End{In: w.ns, Name: "veth0", Addrs: []netip.Prefix{
				netip.PrefixFrom(peerOf4, 24), netip.PrefixFrom(peerOf6, 64),
			}},
			netlab.End{In: peer, Name: "veth0", Addrs: []netip.Prefix{
				netip.PrefixFrom(peerOf4.Next(), 24), netip.PrefixFrom(peerOf6.Next(), 64),
			}})
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return peer
}

func (w *world) linkIndex(name string) int {
	w.t.Helper()
	index := 0
	err := w.ns.Do(func() error {
		l, err := netlink.LinkByName(name)
		if err == nil {
			index = l.Attrs().Index
		}
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return index
}

// listenEverywhere starts daemons on a port of all addresses.
func (w *world) listenEverywhere(port uint16) {
	w.t.Helper()
	address := fmt.Sprintf("[::]:%d", port)
	w.servers.tcp("daemon", w.listen(address))
	w.servers.udp("daemon", w.listenPacket(address))
}
