package offload

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"anyport/bench/netlab"
)

// crossing is a flow of a family in the table, and its sockets.
type crossing struct {
	*bed
	family
	slot             uint32
	client, upstream *net.UDPConn
}

func newCrossing(t *testing.T, b *bed, f family, idle time.Duration) *crossing {
	t.Helper()
	flow := f.flow()
	flow.Idle = idle
	slot, ok := b.table.Offer(flow)
	if !ok {
		t.Fatal("the flow was not taken")
	}
	return &crossing{b, f, slot, f.dial(t, b), f.listen(t, b)}
}

// works sends a datagram each way.
func (c *crossing) works(t *testing.T) {
	t.Helper()
	send(t, c.client, []byte("question"))
	expect(t, c.upstream, []byte("question"))
	_, err := c.upstream.WriteToUDPAddrPort([]byte("answer"), netip.MustParseAddrPort(c.nat))
	must(t, err)
	expect(t, c.client, []byte("answer"))
}

// recovers sends until something arrives.
func (c *crossing) recovers(t *testing.T) {
	t.Helper()
	netlab.Eventually(t, "the flow to find its neighbour again", func() bool {
		send(t, c.client, []byte("?"))
		must(t, c.upstream.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
		_, err := c.upstream.Read(make([]byte, 10))
		return err == nil
	})
	drain(c.upstream)
}

// isLeft does something that sends packets of the flow, at least one of which must be left for a reason, and none be
// forwarded.
func (c *crossing) isLeft(t *testing.T, why string, do func()) {
	t.Helper()
	before, in, out := c.outcome(t, why), c.outcome(t, "in"), c.outcome(t, "out")
	do()
	netlab.Eventually(t, "a packet to be left, as "+why, func() bool { return c.outcome(t, why) > before })
	if c.outcome(t, "in") != in || c.outcome(t, "out") != out {
		t.Errorf("forwarded a packet that was to be left as %s", why)
	}
}

func forFamilies(t *testing.T, test func(*testing.T, family)) {
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) { test(t, f) })
	}
}

// control changes a socket's options, and goes back afterwards.
func control(t *testing.T, c syscall.Conn, change func(fd int) error) {
	t.Helper()
	raw, err := c.SyscallConn()
	must(t, err)
	var failed error
	must(t, raw.Control(func(fd uintptr) { failed = change(int(fd)) }))
	must(t, failed)
}

func option(level, name, value int) func(int) error {
	return func(fd int) error { return unix.SetsockoptInt(fd, level, name, value) }
}

// TestLeft sends what the program must leave to the sockets, each for its reason.
func TestLeft(t *testing.T) {
	b := newBed(t, 10)
	forFamilies(t, func(t *testing.T, f family) {
		c := newCrossing(t, b, f, time.Hour)
		c.works(t)
		level, hops := unix.SOL_IP, unix.IP_TTL
		if f.name == "v6" {
			level, hops = unix.SOL_IPV6, unix.IPV6_UNICAST_HOPS
		}
		one := func() { send(t, c.client, []byte("?")) }
		control(t, c.client, option(level, hops, 1))
		c.isLeft(t, "ttl", one)
		control(t, c.client, option(level, hops, 64))

		c.isNotMistaken(t)
		c.isGone(t)
		c.isLeft(t, "bad_length", func() { sendShort(t, b, f) })
		c.isLeft(t, "too_big", func() { b.withMTU(t, func() { send(t, c.client, make([]byte, 1400)) }) })
		c.isLeft(t, "too_big", func() { b.withMTU(t, func() { sendTrain(t, c.client, make([]byte, 5000), 1400) }) })
		c.works(t)
		b.withMTU(t, func() {
			sendTrain(t, c.client, make([]byte, 2000), 1000) // fits, though the train as a whole does not
			expect(t, c.upstream, make([]byte, 1000))
			expect(t, c.upstream, make([]byte, 1000))
		})

		to := netip.MustParseAddrPort(f.upstream).Addr().String()
		shell(t, b.Proxy, "ip route add "+to+" dev upstream0 mtu lock 1300")
		c.isLeft(t, "too_big", func() { send(t, c.client, make([]byte, 1300)) })
		shell(t, b.Proxy, "ip route replace unreachable "+to)
		b.forget()
		c.isLeft(t, "no_route", one)
		shell(t, b.Proxy, "ip route del unreachable "+to)
		shell(t, b.Proxy, "ip route add local "+to+" dev lo table local") // the upstream is the host itself
		b.forget()
		c.isLeft(t, "no_route", one)
		shell(t, b.Proxy, "ip route del local "+to+" dev lo table local")
		c.works(t)

		sysctl := "net.ip" + f.name + ".conf.lo.forwarding"
		must(t, b.Proxy.Sysctl(sysctl, "0"))
		b.forget()
		c.isLeft(t, "forwarding_off", one)
		must(t, b.Proxy.Do(func() error { b.check(); return nil }))
		c.works(t)
		atomic.StoreUint32(&b.table.maps.meta.On, 0)
		c.isLeft(t, "off", one)
		atomic.StoreUint32(&b.table.maps.meta.On, 1)
		c.works(t)
	})
	c := newCrossing(t, b, family{"v4 again", "udp4", "10.1.0.2:5002", "198.18.0.1:53", "10.2.0.1:20001", "10.2.0.2:7778"}, time.Hour)
	c.isLeft(t, "fragment", func() { send(t, c.client, make([]byte, 3000)) })
	control(t, c.client, func(fd int) error { return unix.SetsockoptString(fd, unix.SOL_IP, unix.IP_OPTIONS, "\x01\x01\x01\x01") })
	c.isLeft(t, "ip_options", func() { send(t, c.client, []byte("?")) })
	if n := b.outcome(t, "no_memory"); n != 0 {
		t.Errorf("%d packets were left for want of memory", n)
	}
}

// isNotMistaken sends to the flow's NAT port from another port of the upstream's: that is no answer to the client.
func (c *crossing) isNotMistaken(t *testing.T) {
	t.Helper()
	out := c.outcome(t, "out")
	stranger := open(t, c.Upstream, func() (*net.UDPConn, error) { return net.ListenUDP(c.network, nil) })
	_, err := stranger.WriteToUDPAddrPort([]byte("?"), netip.MustParseAddrPort(c.nat))
	must(t, err)
	c.works(t)
	if n := c.outcome(t, "out") - out; n != 1 {
		t.Errorf("%d packets went to the client, want its answer alone", n)
	}
}

// isGone has the index lead to a slot that is free, as a process may leave it that is killed.
func (c *crossing) isGone(t *testing.T) {
	t.Helper()
	in := c.outcome(t, "in")
	generation := &c.table.maps.flows[c.slot].In.Generation
	was := *generation
	*generation = 0
	send(t, c.client, []byte("?"))
	*generation = was
	c.works(t)
	if n := c.outcome(t, "in") - in; n != 1 {
		t.Errorf("%d packets were forwarded, one of them of no flow", n)
	}
}

// withMTU makes the MTU towards the upstream 1280 meanwhile, the least that IPv6 allows.
func (b *bed) withMTU(t *testing.T, do func()) {
	t.Helper()
	shell(t, b.Proxy, "ip link set upstream0 mtu 1280")
	do()
	shell(t, b.Proxy, "ip link set upstream0 mtu 1500")
}

// sendTrain sends a payload as datagrams of one size, in one packet as long as nobody has to cut it.
func sendTrain(t testing.TB, c *net.UDPConn, payload []byte, size int) {
	t.Helper()
	_, _, err := c.WriteMsgUDP(payload, trainMessage(size), nil)
	must(t, err)
}

// trainMessage is the control message that says so (udp(7), UDP_SEGMENT).
func trainMessage(size int) []byte {
	oob := make([]byte, unix.CmsgSpace(2))
	h := (*unix.Cmsghdr)(unsafe.Pointer(&oob[0]))
	h.Level, h.Type = unix.SOL_UDP, unix.UDP_SEGMENT
	h.SetLen(unix.CmsgLen(2))
	binary.NativeEndian.PutUint16(oob[unix.CmsgLen(0):], uint16(size))
	return oob
}

// sendShort sends a datagram of the flow whose UDP length is less than what IP carries, by a raw socket.
func sendShort(t *testing.T, b *bed, f family) {
	t.Helper()
	from, to := netip.MustParseAddrPort(f.client), netip.MustParseAddrPort(f.original)
	must(t, b.Client.Do(func() error {
		c, err := net.DialIP(strings.Replace(f.network, "udp", "ip", 1)+":17", &net.IPAddr{IP: from.Addr().AsSlice()},
			&net.IPAddr{IP: to.Addr().AsSlice()})
		if err != nil {
			return err
		}
		defer c.Close()
		datagram := binary.BigEndian.AppendUint16(nil, from.Port())
		datagram = binary.BigEndian.AppendUint16(datagram, to.Port())
		datagram = binary.BigEndian.AppendUint16(datagram, 8) // the header alone
		_, err = c.Write(append(datagram, 0, 0, 'l', 'o', 'n', 'g', 'e', 'r'))
		return err
	}))
}

// TestHopIsCounted looks at the TTL and the hop limit that arrive.
func TestHopIsCounted(t *testing.T) {
	b := newBed(t, 10)
	forFamilies(t, func(t *testing.T, f family) {
		c := newCrossing(t, b, f, time.Hour)
		level, hops, receive := unix.SOL_IP, unix.IP_TTL, unix.IP_RECVTTL
		if f.name == "v6" {
			level, hops, receive = unix.SOL_IPV6, unix.IPV6_UNICAST_HOPS, unix.IPV6_RECVHOPLIMIT
		}
		control(t, c.client, option(level, hops, 2))
		control(t, c.upstream, option(level, receive, 1))
		send(t, c.client, []byte("?"))
		oob := make([]byte, 100)
		must(t, c.upstream.SetReadDeadline(time.Now().Add(netlab.Patience)))
		_, n, _, _, err := c.upstream.ReadMsgUDP(make([]byte, 10), oob)
		must(t, err)
		messages, err := unix.ParseSocketControlMessage(oob[:n])
		must(t, err)
		if len(messages) != 1 || binary.NativeEndian.Uint32(messages[0].Data) != 1 {
			t.Errorf("a packet sent with a TTL of 2 arrives with %v", messages)
		}
	})
}

// TestIdle lets a flow's idle timeout pass: nobody takes it out, and yet it is not forwarded any more. What comes to the
// sockets revives it.
func TestIdle(t *testing.T) {
	b := newBed(t, 10)
	forFamilies(t, func(t *testing.T, f family) {
		const idle = time.Second // a loaded machine may pause for some of it
		c := newCrossing(t, b, f, idle)
		for range 8 { // one way is enough to keep both alive
			send(t, c.client, []byte("?"))
			expect(t, c.upstream, []byte("?"))
			time.Sleep(idle / 6)
		}
		c.works(t)
		netlab.Eventually(t, "the timeout to pass", func() bool { return b.table.Usage(c.slot).Silent > idle+2*unit })
		c.isLeft(t, "idle", func() { send(t, c.client, []byte("?")) })
		c.isLeft(t, "idle", func() {
			_, err := c.upstream.WriteToUDPAddrPort([]byte("!"), netip.MustParseAddrPort(f.nat))
			must(t, err)
		})
		b.table.Count(c.slot, Usage{PacketsIn: 1})
		c.works(t)
	})
}

// TestPathChanges changes the neighbour's hardware address, and then the route, under a flow.
func TestPathChanges(t *testing.T) {
	b := newBed(t, 10)
	must(t, b.Lab.Connect(
		netlab.End{In: b.Upstream, Name: "second0", Addrs: []netip.Prefix{netip.MustParsePrefix("10.3.0.2/24"), netip.MustParsePrefix("fd00:3::2/64")}},
		netlab.End{In: b.Proxy, Name: "second0", Addrs: []netip.Prefix{netip.MustParsePrefix("10.3.0.1/24"), netip.MustParsePrefix("fd00:3::1/64")}}))
	forFamilies(t, func(t *testing.T, f family) {
		neigh := "net.ip" + f.name + ".neigh.upstream0."
		// Before the neighbour is first resolved: its timers go by what is so then.
		must(t, b.Proxy.Sysctl(neigh+"base_reachable_time_ms", "100"))
		must(t, b.Proxy.Sysctl(neigh+"delay_first_probe_time", "1"))
		c := newCrossing(t, b, f, time.Hour)
		c.works(t)
		shell(t, b.Upstream, "ip link set proxy0 address 02:00:00:00:00:7"+f.name[1:])
		c.recovers(t)
		via := map[string]string{"v4": "10.3.0.2", "v6": "fd00:3::2"}[f.name]
		shell(t, b.Proxy, "ip route add "+netip.MustParseAddrPort(f.upstream).Addr().String()+" via "+via)
		b.forget()
		before := received(t, b.Upstream, "second0")
		for range 20 {
			send(t, c.client, []byte("?"))
			expect(t, c.upstream, []byte("?"))
		}
		if n := received(t, b.Upstream, "second0") - before; n < 20 {
			t.Errorf("%d packets took the new route", n)
		}
		c.works(t)
	})
}

// drain reads what is there.
func drain(c *net.UDPConn) {
	for {
		_ = c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		if _, err := c.Read(make([]byte, 1)); err != nil {
			return
		}
	}
}

// received returns how many packets a device has received.
func received(t *testing.T, ns *netlab.Namespace, device string) (n int) {
	t.Helper()
	_, err := fmt.Sscan(statistic(shell(t, ns, "ip -s link show "+device)), &n)
	must(t, err)
	return n
}

// statistic is the second word of the line after "RX:".
func statistic(text string) string {
	_, after, _ := strings.Cut(text, "RX:")
	lines := strings.Split(after, "\n")
	return strings.Fields(lines[1])[1]
}
