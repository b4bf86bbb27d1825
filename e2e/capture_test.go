package e2e

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"anyport/bench/netlab"
)

// capture collects what arrives on an interface, seen by an AF_PACKET socket (packet(7)).
type capture struct {
	fd   int
	stop chan struct{}
	done chan struct{}

	mu       sync.Mutex // guards the fields below
	seen     []packet
	segments []segment
}

// startCapture captures on an interface of a namespace until the test ends.
func startCapture(t *testing.T, ns *netlab.Namespace, device string) *capture {
	t.Helper()
	c := &capture{stop: make(chan struct{}), done: make(chan struct{})}
	if err := ns.Do(func() (err error) { c.fd, err = openPacketSocket(device); return }); err != nil {
		t.Fatal(err)
	}
	go c.loop()
	t.Cleanup(func() {
		close(c.stop)
		<-c.done
		unix.Close(c.fd)
	})
	return c
}

func openPacketSocket(device string) (int, error) {
	const all = unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8 // in network byte order
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, all)
	if err != nil {
		return -1, fmt.Errorf("open packet socket: %w", err)
	}
	ifreq, err := unix.NewIfreq(device)
	if err == nil {
		err = unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, ifreq)
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: int(ifreq.Uint32())})
	}
	if err == nil {
		err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50_000})
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("capture on %s: %w", device, err)
	}
	return fd, nil
}

func (c *capture) loop() {
	defer close(c.done)
	buf := make([]byte, 1<<16)
	for {
		select {
		case <-c.stop:
			return
		default:
		}
		n, _, err := unix.Recvfrom(c.fd, buf, 0)
		if err != nil {
			continue // the receive timeout: look at stop
		}
		c.keep(buf[:n])
	}
}

// keep remembers what these tests look for in a frame.
func (c *capture) keep(frame []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p, ok := parsePacket(frame); ok {
		c.seen = append(c.seen, p)
	}
	if s, ok := parseSegment(frame); ok {
		c.segments = append(c.segments, s)
	}
}

// waitFor waits until such a packet has been captured.
func (c *capture) waitFor(t *testing.T, p packet) {
	t.Helper()
	waitFor(t, fmt.Sprintf("%s about %s on the wire", p.kind, p.about), func() bool { return c.has(p) })
}

func (c *capture) has(p packet) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Contains(c.seen, p)
}

// TestCaptureSeesHandshake checks the tool: an open port gives a SYN-ACK, a closed one a RST, a closed UDP port ICMP.
func TestCaptureSeesHandshake(t *testing.T) {
	lab := netlab.NewTrio(t)
	c := startCapture(t, lab.Client, "proxy0")
	for _, f := range families {
		open, closed := netip.AddrPortFrom(f.proxy, 4242), netip.AddrPortFrom(f.proxy, 4243)
		serve(t, listen(t, lab.Proxy, open.String()), echo)
		if err := tryEcho(lab.Client, open, "", []byte("hello")); err != nil {
			t.Fatal(err)
		}
		c.waitFor(t, packet{open, "SYN-ACK"})
		for _, network := range []string{"tcp", "udp"} {
			if err := refusal(lab.Client, network, closed); !isRefused(err) {
				t.Fatalf("dial a closed port: %v", err)
			}
		}
		c.waitFor(t, packet{closed, "RST"})
		c.waitFor(t, packet{closed, "unreachable"})
		if c.has(packet{closed, "SYN-ACK"}) {
			t.Error("SYN-ACK from a closed port")
		}
	}
}
