package main

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"

	"anyport/bench/netlab"
)

func startDemo(t *testing.T) netip.AddrPort {
	t.Helper()
	d, err := listenDemo()
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.run(ctx, slog.New(slog.DiscardHandler)) }()
	t.Cleanup(func() { cancel(); must(t, <-done) })
	return d.addr()
}

// demoPairs are a client and an original destination of each family.
var demoPairs = []struct{ client, dst string }{
	{"192.0.2.1:4000", "127.64.1.2:4242"},
	{"[2001:db8::1]:4000", "[fd64::5]:6789"},
}

func TestDemoOverTCP(t *testing.T) {
	at := startDemo(t)
	for _, p := range demoPairs {
		c, err := net.Dial("tcp", at.String())
		must(t, err)
		defer c.Close()
		must(t, c.SetDeadline(time.Now().Add(netlab.Patience)))
		header := proxyproto.HeaderProxyFromAddrs(2, net.TCPAddrFromAddrPort(netip.MustParseAddrPort(p.client)),
			net.TCPAddrFromAddrPort(netip.MustParseAddrPort(p.dst)))
		_, err = header.WriteTo(c)
		must(t, err)
		_, err = io.WriteString(c, "GET / HTTP/1.0\r\n\r\n")
		must(t, err)
		answer, err := io.ReadAll(bufio.NewReader(c))
		must(t, err)
		if want := p.dst + " reached over TCP from " + p.client + "\n"; !strings.HasSuffix(string(answer), want) {
			t.Errorf("answer %q, want it to end in %q", answer, want)
		}
	}
}

// A datagram without a header is dropped, and those after it are answered.
func TestDemoOverUDP(t *testing.T) {
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(startDemo(t)))
	must(t, err)
	defer c.Close()
	must(t, c.SetDeadline(time.Now().Add(netlab.Patience)))
	for _, p := range demoPairs {
		_, err = io.WriteString(c, "no header")
		must(t, err)
		header, err := proxyproto.HeaderProxyFromAddrs(2, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(p.client)),
			net.UDPAddrFromAddrPort(netip.MustParseAddrPort(p.dst))).Format()
		must(t, err)
		_, err = c.Write(append(header, "hello"...))
		must(t, err)
		buf := make([]byte, 1000)
		n, err := c.Read(buf)
		must(t, err)
		if want := p.dst + " reached over UDP from " + p.client + "\n"; string(buf[:n]) != want {
			t.Errorf("answer %q, want %q", buf[:n], want)
		}
	}
}

// A server that fails ends the demo with its error, and the other server with it.
func TestDemoFails(t *testing.T) {
	d, err := listenDemo()
	must(t, err)
	defer d.close()
	must(t, d.tcp.Close())
	if err := d.run(t.Context(), slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "TCP") {
		t.Errorf("run returned %v, want the failure of TCP", err)
	}
}
