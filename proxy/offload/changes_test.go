package offload

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"anyport/bench/netlab"
)

// TestChangesAreNoticed makes changes of each kind, of all of which the program is told.
func TestChangesAreNoticed(t *testing.T) {
	b := newBed(t, 10)
	number := &b.table.maps.meta.Changes
	ctx, cancel := context.WithCancel(context.Background())
	var watch sync.WaitGroup
	watch.Go(func() {
		if err := b.changes.watch(ctx, number); err != nil {
			t.Error(err)
		}
	})
	defer watch.Wait()
	defer cancel()
	for _, change := range []string{
		"ip link set upstream0 mtu 1400",
		"ip link set client0 down",
		"ip route add 192.0.2.0/24 via 10.2.0.2",
		"ip route del 192.0.2.0/24",
		"ip route add 2001:db8:1::/48 via fd00:2::2",
		"ip rule add ipproto udp sport 1 lookup 100",
		"ip -6 rule add ipproto udp sport 1 lookup 100",
		"ip nexthop add id 1 via 10.2.0.2 dev upstream0",
		"sysctl -q net.ipv4.conf.lo.forwarding=0",
		"sysctl -q net.ipv6.conf.lo.forwarding=0",
	} {
		// A change may come as several events, of which the last one must not be taken for the next change.
		before := atomic.LoadUint32(number)
		for time.Sleep(20 * changesPause); atomic.LoadUint32(number) != before; time.Sleep(20 * changesPause) {
			before = atomic.LoadUint32(number)
		}
		shell(t, b.Proxy, change)
		netlab.Eventually(t, "it to notice "+change, func() bool { return atomic.LoadUint32(number) != before })
	}
}

// TestKnownChange tells the program of a change within the unit of time in which it has found the path, again and again
// until the two have met.
func TestKnownChange(t *testing.T) {
	b := newBed(t, 10)
	forFamilies(t, func(t *testing.T, f family) {
		c := newCrossing(t, b, f, time.Hour)
		var routes *netlink.Handle
		must(t, b.Proxy.Do(func() (err error) { routes, err = netlink.NewHandle(unix.NETLINK_ROUTE); return err }))
		defer routes.Close()
		to := netip.MustParseAddrPort(f.upstream).Addr()
		unreachable := &netlink.Route{Type: unix.RTN_UNREACHABLE,
			Dst: &net.IPNet{IP: to.AsSlice(), Mask: net.CIDRMask(to.BitLen(), to.BitLen())}}
		for range 50 {
			c.works(t)
			must(t, routes.RouteAdd(unreachable))
			atomic.AddUint32(&b.table.maps.meta.Changes, 1)
			c.isLeft(t, "no_route", func() { send(t, c.client, []byte("?")) })
			must(t, routes.RouteDel(unreachable))
			atomic.AddUint32(&b.table.maps.meta.Changes, 1)
		}
	})
}

// TestPathsAreNotMixed has two flows whose paths are remembered in one place go out by different devices.
func TestPathsAreNotMixed(t *testing.T) {
	const places = 1024 // PATHS of bpf/path.h
	b := newBed(t, places)
	must(t, b.Lab.Connect(
		netlab.End{In: b.Upstream, Name: "second0", Addrs: []netip.Prefix{netip.MustParsePrefix("10.3.0.2/24")}},
		netlab.End{In: b.Proxy, Name: "second0", Addrs: []netip.Prefix{netip.MustParsePrefix("10.3.0.1/24")}}))
	f := families[0]
	first := newCrossing(t, b, f, time.Hour)
	for i := range places/2 - 1 {
		flow := f.flow()
		flow.Client.Port, flow.NAT.Port = uint16(10_000+i), uint16(30_000+i)
		if _, ok := b.table.Offer(flow); !ok {
			t.Fatal("a flow was not taken")
		}
	}
	f.client, f.nat, f.upstream = "10.1.0.2:5002", "10.3.0.1:20000", "10.3.0.2:7777"
	second := newCrossing(t, b, f, time.Hour)
	if second.slot != first.slot+places/2 {
		t.Fatalf("slots are %d and %d", first.slot, second.slot)
	}
	before := received(t, b.Upstream, "second0")
	for range 20 {
		for _, c := range []*crossing{first, second} {
			send(t, c.client, []byte("?"))
			expect(t, c.upstream, []byte("?"))
		}
	}
	if n := received(t, b.Upstream, "second0") - before; n < 20 {
		t.Errorf("%d of 20 packets have taken their own way", n)
	}
}

// TestLinkDown takes the device towards the upstream down, and then up again with another MTU.
func TestLinkDown(t *testing.T) {
	forFamilies(t, func(t *testing.T, f family) {
		b := newBed(t, 10)
		c := newCrossing(t, b, f, time.Hour)
		c.works(t)
		shell(t, b.Proxy, "ip link set upstream0 down")
		b.forget()
		c.isLeft(t, "no_route", func() { send(t, c.client, []byte("?")) })
		shell(t, b.Proxy, "ip link set upstream0 mtu 1280 up")
		if f.name == "v6" { // the kernel has taken the address away
			must(t, b.Proxy.AddAddr("upstream0", netip.PrefixFrom(netip.MustParseAddrPort(f.nat).Addr(), 64)))
		}
		c.recovers(t)
		c.isLeft(t, "too_big", func() { send(t, c.client, make([]byte, 1300)) })
		c.works(t)
	})
}

// TestDeviceWithoutEthernet has the upstream behind a device whose packets begin with their IP header. What comes from
// there is the sockets' business, whose part another program's plays here.
func TestDeviceWithoutEthernet(t *testing.T) {
	b := newBed(t, 10)
	tun := openTun(t, b.Proxy)
	f := family{"v4", "udp4", "10.1.0.2:5001", "198.18.0.1:53", "10.9.0.1:20000", "10.9.0.2:7777"}
	if _, ok := b.table.Offer(f.flow()); !ok {
		t.Fatal("the flow was not taken")
	}
	send(t, f.dial(t, b), []byte("question"))
	packet := tun.read(t)
	const header = 20 + 8
	if got := string(packet[header:]); got != "question" {
		t.Fatalf("%q has gone out", got)
	}
	from, to := netip.AddrFrom4([4]byte(packet[12:])), netip.AddrFrom4([4]byte(packet[16:]))
	if from.String() != "10.9.0.1" || to.String() != "10.9.0.2" || binary.BigEndian.Uint16(packet[20:]) != 20000 {
		t.Errorf("from %v to %v", from, to)
	}
	socket := open(t, b.Proxy, func() (*net.UDPConn, error) {
		return net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(f.nat)))
	})
	answer := append([]byte(nil), packet...)
	copy(answer[12:], packet[16:20]) // addresses and ports change places, with which the sums stay as they are
	copy(answer[16:], packet[12:16])
	copy(answer[20:], packet[22:24])
	copy(answer[22:], packet[20:22])
	tun.write(t, answer)
	if from := expect(t, socket, []byte("question")); from.String() != f.upstream {
		t.Errorf("the socket has an answer of %s", from)
	}
}

// tunDevice is the descriptor of a device tun0 with the address 10.9.0.1/24.
type tunDevice struct{ fd int }

func openTun(t *testing.T, ns *netlab.Namespace) tunDevice {
	t.Helper()
	node := filepath.Join(t.TempDir(), "tun")
	must(t, unix.Mknod(node, unix.S_IFCHR|0o600, int(unix.Mkdev(10, 200)))) // Documentation/admin-guide/devices.txt
	var fd int
	must(t, ns.Do(func() (err error) { fd, err = unix.Open(node, unix.O_RDWR|unix.O_CLOEXEC, 0); return err }))
	t.Cleanup(func() { unix.Close(fd) })
	request, err := unix.NewIfreq("tun0")
	must(t, err)
	request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	must(t, unix.IoctlIfreq(fd, unix.TUNSETIFF, request))
	shell(t, ns, "ip address add 10.9.0.1/24 dev tun0")
	shell(t, ns, "ip link set tun0 up")
	return tunDevice{fd}
}

// read returns the next IPv4 packet; the kernel sends others of its own.
func (d tunDevice) read(t *testing.T) []byte {
	t.Helper()
	buf := make([]byte, 1<<16)
	for {
		ready := []unix.PollFd{{Fd: int32(d.fd), Events: unix.POLLIN}}
		switch n, err := unix.Poll(ready, int(netlab.Patience.Milliseconds())); {
		case err == unix.EINTR:
			continue
		case err != nil || n == 0:
			t.Fatalf("no packet has gone out: %v", err)
		}
		n, err := unix.Read(d.fd, buf)
		must(t, err)
		if n > 0 && buf[0]>>4 == 4 {
			return buf[:n]
		}
	}
}

func (d tunDevice) write(t *testing.T, packet []byte) {
	t.Helper()
	_, err := unix.Write(d.fd, packet)
	must(t, err)
}
