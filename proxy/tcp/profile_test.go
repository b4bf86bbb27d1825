package tcp

import (
	"io"
	"net"
	"net/netip"
	"testing"
)

// The benchmarks of this file are there to be profiled: client, proxy and upstream share the process, and what the proxy
// does is below worker.run. README's table comes from these commands, as root, with ShortConnections and with PingPong:
//
//	go test ./proxy/tcp -run '^$' -bench ShortConnections -benchtime 12s -cpuprofile cpu.out -o tcp.test
//	go tool pprof -top -focus 'worker..run' -show 'sock\.[A-Z]|worker..run$' tcp.test cpu.out
//
// The flat time of worker.run is then all that is no system call. That of a system call holds what the kernel does in it
// for the peer, too: on one host, sending ends in the receiver's socket.

// benchRig is a rig with one worker and no access log, in front of an echo.
func benchRig(b *testing.B) *rig {
	b.Helper()
	up := newServer(b, v4.upstream)
	up.serving.Go(up.serveEcho)
	return newRig(b, v4, setup{upstreams: []netip.AddrPort{up.addr}, workers: 1, noLog: true})
}

// exchange64 sends 64 bytes and reads them back.
func exchange64(b *testing.B, c net.Conn, buf []byte) {
	if _, err := c.Write(buf); err != nil {
		b.Fatal(err)
	}
	if _, err := io.ReadFull(c, buf); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkShortConnections connects, exchanges 64 bytes and closes.
func BenchmarkShortConnections(b *testing.B) {
	r := benchRig(b)
	buf := make([]byte, 64)
	for b.Loop() {
		c, err := net.Dial("tcp", r.addr.String())
		if err != nil {
			b.Fatal(err)
		}
		exchange64(b, c, buf)
		c.Close()
	}
}

// BenchmarkPingPong exchanges 64 bytes on one connection.
func BenchmarkPingPong(b *testing.B) {
	r := benchRig(b)
	buf := make([]byte, 64)
	c := r.dial()
	for b.Loop() {
		exchange64(b, c, buf)
	}
}
