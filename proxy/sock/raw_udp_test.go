package sock

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"anyport/bench/netlab"
)

// TestRawUDP sends datagrams of all sizes. The kernel checks their checksums before it delivers them.
func TestRawUDP(t *testing.T) {
	ns := anycast(t)
	raw := openRaw(t, ns, 8, func(err error) { t.Errorf("send: %v", err) })
	for _, e := range ends {
		dst := netip.MustParseAddrPort(e.dst)
		server := inNamespace(t, ns, func() (*net.UDPConn, error) {
			return net.ListenUDP("udp", net.UDPAddrFromAddrPort(dst))
		})
		src, to := AddrFrom(netip.MustParseAddrPort(e.src)), AddrFrom(dst)
		for _, size := range []int{0, 1, 7, 1472, 1473, 65507 - 28, MaxPayload(to) - 28} {
			head, payload := make([]byte, 28), make([]byte, size)
			fillBytes(rand.New(rand.NewPCG(uint64(size), 1)), payload)
			raw.Queue(&src, &to, head, payload)
			raw.Flush()
			got, from := read(t, server)
			if want := append(head, payload...); from.String() != e.src || !bytes.Equal(got, want) {
				t.Errorf("got %d bytes from %v, want %d from %s", len(got), from, len(want), e.src)
			}
		}
	}
}

func openRaw(t *testing.T, ns *netlab.Namespace, n int, failed func(error)) *RawUDP {
	t.Helper()
	return inNamespace(t, ns, func() (*RawUDP, error) { return OpenRawUDP(n, failed) })
}

func read(t *testing.T, c *net.UDPConn) ([]byte, netip.AddrPort) {
	t.Helper()
	buf := make([]byte, MaxDatagram)
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	n, from, err := c.ReadFromUDPAddrPort(buf)
	if err != nil {
		t.Fatal(err)
	}
	return buf[:n], netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
}

// TestRawUDPSkipsFailures queues datagrams that the kernel refuses (a prohibit route gives EACCES) among others.
func TestRawUDPSkipsFailures(t *testing.T) {
	ns := anycast(t)
	if out, err := ns.Command("ip", "route", "add", "prohibit", "192.0.2.1").CombinedOutput(); err != nil {
		t.Fatalf("%s: %v", out, err)
	}
	if out, err := ns.Command("ip", "route", "add", "prohibit", "2001:db8:ffff::1").CombinedOutput(); err != nil {
		t.Fatalf("%s: %v", out, err)
	}
	var failures []error
	raw := openRaw(t, ns, 16, func(err error) { failures = append(failures, err) })
	for i, prohibited := range []string{"192.0.2.1:9", "[2001:db8:ffff::1]:9"} {
		failures = nil
		src := AddrFrom(netip.MustParseAddrPort(ends[i].src))
		good := netip.MustParseAddrPort(ends[i].dst)
		server := inNamespace(t, ns, func() (*net.UDPConn, error) {
			return net.ListenUDP("udp", net.UDPAddrFromAddrPort(good))
		})
		to, bad := AddrFrom(good), AddrFrom(netip.MustParseAddrPort(prohibited))
		for n := range 10 {
			raw.Queue(&src, &bad, nil, []byte("?"))
			raw.Queue(&src, &to, nil, fmt.Appendf(nil, "%d", n))
			raw.Queue(&src, &bad, nil, nil)
		}
		raw.Flush()
		for n := range 10 {
			if got, _ := read(t, server); string(got) != fmt.Sprint(n) {
				t.Fatalf("got %q, want %d", got, n)
			}
		}
		if len(failures) != 20 || !errors.Is(failures[0], unix.EACCES) {
			t.Errorf("%d failures: %v", len(failures), failures)
		}
	}
}

// TestRawSocketsAreMute takes each of the two precautions away in turn: the other one alone keeps datagrams out.
func TestRawSocketsAreMute(t *testing.T) {
	ns := anycast(t)
	err := ns.Do(func() error {
		for i, open := range []func() (int, error){openRaw4, func() (int, error) { return openRaw6(unix.IPPROTO_UDP) }} {
			bound, err := open()
			if err != nil {
				return err
			}
			defer unix.Close(bound)
			if err := unix.SetsockoptInt(bound, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0); err != nil {
				return err
			}
			family := []int{unix.AF_INET, unix.AF_INET6}[i]
			filtered, err := rawSocket(family, unix.IPPROTO_UDP)
			if err != nil {
				return err
			}
			defer unix.Close(filtered)
			if err := DropAll(filtered); err != nil {
				return err
			}
			open, err := rawSocket(family, unix.IPPROTO_UDP)
			if err != nil {
				return err
			}
			defer unix.Close(open)
			c, err := net.Dial("udp", ends[i].dst)
			if err != nil {
				return err
			}
			defer c.Close()
			if _, err := c.Write([]byte("?")); err != nil {
				return err
			}
			if !readable(open) || readable(bound) || readable(filtered) {
				t.Errorf("%s: readable: open %v, bound %v, filtered %v", ends[i].dst, readable(open), readable(bound),
					readable(filtered))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// readable reports whether something waits in a socket. Over loopback a datagram has arrived when it has been sent.
func readable(fd int) bool {
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
	return err == nil && n == 1
}
