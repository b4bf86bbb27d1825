package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"

	"github.com/pires/go-proxyproto"

	"anyport/bench/netlab"
)

// listen opens a TCP listener in a namespace, closed at the test's end.
func listen(t *testing.T, ns *netlab.Namespace, addr string) net.Listener {
	t.Helper()
	var ln net.Listener
	if err := ns.Do(func() (err error) { ln, err = net.Listen("tcp", addr); return }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

// listenPacket opens a UDP socket in a namespace, closed at the test's end.
func listenPacket(t *testing.T, ns *netlab.Namespace, addr string) *net.UDPConn {
	t.Helper()
	var pc net.PacketConn
	if err := ns.Do(func() (err error) { pc, err = net.ListenPacket("udp", addr); return }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pc.Close() })
	return pc.(*net.UDPConn)
}

// serve gives every connection to handle, on a goroutine of its own, until the test ends.
func serve(t *testing.T, ln net.Listener, handle func(*net.TCPConn)) {
	var conns sync.WaitGroup
	conns.Add(1)
	go acceptLoop(ln, handle, &conns)
	t.Cleanup(func() {
		ln.Close()
		conns.Wait()
	})
}

func acceptLoop(ln net.Listener, handle func(*net.TCPConn), conns *sync.WaitGroup) {
	defer conns.Done()
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		conns.Add(1)
		go func() {
			defer conns.Done()
			defer c.Close()
			handle(c.(*net.TCPConn))
		}()
	}
}

// echo sends everything back.
func echo(c *net.TCPConn) { io.Copy(c, c) }

// echoAs returns a handler that sends its name and a newline, then everything back.
func echoAs(name string) func(*net.TCPConn) {
	return func(c *net.TCPConn) {
		fmt.Fprintln(c, name)
		io.Copy(c, c)
	}
}

// echoDestination expects a PROXY protocol header and sends the original destination in it and a newline, then
// everything back.
func echoDestination(c *net.TCPConn) {
	r := bufio.NewReader(c)
	header, err := proxyproto.Read(r)
	if err != nil {
		fmt.Fprintln(c, err)
		return
	}
	fmt.Fprintln(c, unmapped(header.DestinationAddr))
	io.Copy(c, r)
}

// unmapped returns an address without the IPv4-mapped form that an AF_INET6 header may carry.
func unmapped(a net.Addr) netip.AddrPort {
	ap := a.(*net.TCPAddr).AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// servePackets answers every datagram with what answer makes of it, until the test ends.
func servePackets(t *testing.T, c *net.UDPConn, answer func([]byte) []byte) {
	done := make(chan struct{})
	go packetLoop(c, answer, done)
	t.Cleanup(func() {
		c.Close()
		<-done
	})
}

func packetLoop(c *net.UDPConn, answer func([]byte) []byte, done chan<- struct{}) {
	defer close(done)
	buf := make([]byte, 1<<16)
	for {
		n, from, err := c.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		c.WriteToUDPAddrPort(answer(buf[:n]), from)
	}
}

// same answers a datagram with itself.
func same(b []byte) []byte { return b }

// upstreams serves echo on the same TCP and UDP port of both of the upstream's addresses.
func (w *world) upstreams(port uint16, handle func(*net.TCPConn)) {
	w.t.Helper()
	for _, f := range families {
		at := netip.AddrPortFrom(f.upstream, port).String()
		serve(w.t, listen(w.t, w.Upstream, at), handle)
		servePackets(w.t, listenPacket(w.t, w.Upstream, at), same)
	}
}
