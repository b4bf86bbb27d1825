package udp

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"anyport/bench/netlab"
)

// listen opens a UDP socket in a namespace until the test ends.
func listen(t testing.TB, ns *netlab.Namespace, addr string) *net.UDPConn {
	t.Helper()
	return listenOn(t, ns, "udp", addr)
}

// listenOn is listen for one family, with network "udp4" or "udp6".
func listenOn(t testing.TB, ns *netlab.Namespace, network, addr string) *net.UDPConn {
	t.Helper()
	var c *net.UDPConn
	must(t, ns.Do(func() (err error) {
		c, err = net.ListenUDP(network, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(addr)))
		return err
	}))
	must(t, c.SetReadBuffer(8<<20))
	t.Cleanup(func() { c.Close() })
	return c
}

// dial opens a connected UDP socket, which takes datagrams from addr alone, until the test ends.
func dial(t testing.TB, ns *netlab.Namespace, addr string) *net.UDPConn {
	t.Helper()
	var c *net.UDPConn
	must(t, ns.Do(func() (err error) {
		c, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(addr)))
		return err
	}))
	t.Cleanup(func() { c.Close() })
	return c
}

// echo answers every datagram with its content, until its socket is closed.
func echo(t testing.TB, c *net.UDPConn) {
	t.Helper()
	done := make(chan struct{})
	go echoLoop(c, done)
	t.Cleanup(func() { c.Close(); <-done })
}

func echoLoop(c *net.UDPConn, done chan<- struct{}) {
	defer close(done)
	buf := make([]byte, 1<<16)
	for {
		n, from, err := c.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			_, _ = c.WriteToUDPAddrPort(buf[:n], from)
		}
	}
}

// patience is how long tests wait for what should come at once.
const patience = 10 * time.Second

// receive reads one datagram.
func receive(t testing.TB, c *net.UDPConn) ([]byte, netip.AddrPort) {
	t.Helper()
	must(t, c.SetReadDeadline(time.Now().Add(patience)))
	buf := make([]byte, 1<<16)
	n, from, err := c.ReadFromUDPAddrPort(buf)
	must(t, err)
	return buf[:n], netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// shell runs a command in a namespace and returns what it prints.
func shell(t *testing.T, ns *netlab.Namespace, name string, args ...string) string {
	t.Helper()
	out, err := ns.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v", out, err)
	}
	return string(out)
}

func send(t *testing.T, r *rig, dst string) {
	t.Helper()
	_, err := dial(t, r.Client, dst).Write([]byte("?"))
	must(t, err)
}
