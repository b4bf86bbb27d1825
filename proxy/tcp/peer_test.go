package tcp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"anyport/bench/netlab"
	"anyport/proxy/sock"
)

// noise is the data that tests send: random, so that a byte out of place is seen.
var noise = func() []byte {
	b := make([]byte, 16<<20)
	seed := [32]byte{'n', 'o', 'i', 's', 'e'}
	rand.NewChaCha8(seed).Read(b)
	return b
}()

// peer is one end of a connection, the client's or the upstream's. It sends noise and expects noise, each from the
// beginning.
type peer struct {
	*net.TCPConn
	t        testing.TB
	name     string
	sent     int
	received int
}

func newPeer(t testing.TB, name string, c net.Conn) *peer {
	p := &peer{TCPConn: c.(*net.TCPConn), t: t, name: name}
	p.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { p.Close() })
	return p
}

// dial connects a client to the rig. That an accept queue has taken it is all that is sure then.
func (r *rig) dial() *peer {
	r.t.Helper()
	c, err := net.DialTimeout("tcp", r.addr.String(), patience)
	if err != nil {
		r.t.Fatal(err)
	}
	return newPeer(r.t, "client", c)
}

// dialReset connects a client that is reset, perhaps before it has noticed that it was connected.
func (r *rig) dialReset() {
	r.t.Helper()
	c, err := net.DialTimeout("tcp", r.addr.String(), patience)
	switch {
	case err == nil:
		newPeer(r.t, "client", c).expectRST()
	case !errors.Is(err, syscall.ECONNRESET):
		r.t.Fatal(err)
	}
}

// plainTCP listens without MPTCP.
func plainTCP() *net.ListenConfig {
	lc := new(net.ListenConfig)
	lc.SetMultipathTCP(false)
	return lc
}

// server is an upstream.
type server struct {
	*net.TCPListener
	t       testing.TB
	addr    netip.AddrPort
	serving sync.WaitGroup
}

func newServer(t testing.TB, addr netip.Addr) *server {
	t.Helper()
	l, err := plainTCP().Listen(context.Background(), "tcp", netip.AddrPortFrom(addr, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	s := &server{TCPListener: l.(*net.TCPListener), t: t, addr: l.Addr().(*net.TCPAddr).AddrPort()}
	t.Cleanup(func() {
		s.Close()
		s.serving.Wait()
	})
	return s
}

func (s *server) accept() *peer {
	s.t.Helper()
	s.SetDeadline(time.Now().Add(patience))
	c, err := s.Accept()
	if err != nil {
		s.t.Fatalf("upstream: %v", err)
	}
	return newPeer(s.t, "upstream", c)
}

// send writes the next n bytes of noise.
func (p *peer) send(n int) {
	p.t.Helper()
	if _, err := p.Write(noise[p.sent : p.sent+n]); err != nil {
		p.t.Fatalf("%s sends %d bytes: %v", p.name, n, err)
	}
	p.sent += n
}

// expect reads the next n bytes of noise.
func (p *peer) expect(n int) {
	p.t.Helper()
	got := make([]byte, n)
	if k, err := io.ReadFull(p, got); err != nil {
		p.t.Fatalf("%s expects %d bytes: got %d: %v", p.name, n, k, err)
	}
	if !bytes.Equal(got, noise[p.received:p.received+n]) {
		p.t.Fatalf("%s got other bytes than were sent, after %d", p.name, p.received)
	}
	p.received += n
}

// expectFIN reads the end of the stream.
func (p *peer) expectFIN() {
	p.t.Helper()
	if n, err := p.Read(make([]byte, 1)); err != io.EOF {
		p.t.Fatalf("%s expects a FIN: read %d bytes, %v", p.name, n, err)
	}
}

// expectRST reads the error that a RST leaves.
func (p *peer) expectRST() {
	p.t.Helper()
	if n, err := p.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		p.t.Fatalf("%s expects a RST: read %d bytes, %v", p.name, n, err)
	}
}

// expectAbort waits for the RST that answers a FIN of ours. The kernel reports it as EPIPE, and reads as end of file.
func (p *peer) expectAbort() {
	p.t.Helper()
	netlab.Eventually(p.t, p.name+" is reset", func() bool { return p.tcpState() == tcpClose })
}

// fin sends a FIN.
func (p *peer) fin() {
	p.t.Helper()
	if err := p.CloseWrite(); err != nil {
		p.t.Fatalf("%s closes: %v", p.name, err)
	}
}

// rst sends a RST.
func (p *peer) rst() {
	p.t.Helper()
	p.SetLinger(0)
	if err := p.Close(); err != nil {
		p.t.Fatalf("%s resets: %v", p.name, err)
	}
}

// fd runs f on the peer's descriptor.
func (p *peer) fd(f func(fd int)) {
	p.t.Helper()
	raw, err := p.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { f(int(fd)) })
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// tcpClose is TCP_CLOSE of include/net/tcp_states.h.
const tcpClose = 7

func (p *peer) tcpState() (state uint8) {
	p.fd(func(fd int) {
		if info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			state = info.State
		}
	})
	return state
}

// awaitAcked waits until the other end's kernel has everything that was sent.
func (p *peer) awaitAcked() {
	p.t.Helper()
	netlab.Eventually(p.t, p.name+"'s data is acknowledged", func() (acked bool) {
		p.fd(func(fd int) {
			n, err := unix.IoctlGetInt(fd, unix.SIOCOUTQ)
			acked = err == nil && n == 0
		})
		return acked
	})
}

// unread returns how many bytes wait to be read.
func (p *peer) unread() (n int) {
	p.fd(func(fd int) { n, _ = unix.IoctlGetInt(fd, unix.SIOCINQ) })
	return n
}

// addrs returns the servers' addresses.
func addrs(servers ...*server) []netip.AddrPort {
	var list []netip.AddrPort
	for _, s := range servers {
		list = append(list, s.addr)
	}
	return list
}

// tcpMemory returns the greatest of the three sizes of net.ipv4.tcp_rmem or tcp_wmem.
func tcpMemory(t testing.TB, name string) (most int) {
	t.Helper()
	text, err := os.ReadFile("/proc/sys/net/ipv4/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscan(strings.Fields(string(text))[2], &most); err != nil {
		t.Fatal(err)
	}
	return most
}

// addr reads an address.
func addr(text string) sock.Addr { return sock.AddrFrom(netip.MustParseAddrPort(text)) }
