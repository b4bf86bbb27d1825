package steering

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"anyport/bench/netlab"
	"anyport/conf/rule"
)

// servers are named sockets that tell who was reached.
type servers struct {
	t        testing.TB
	running  sync.WaitGroup
	arrivals sync.Map      // payload of a datagram -> name of the server that has it
	sent     atomic.Uint64 // makes payloads unique
}

func newServers(t testing.TB) *servers {
	s := &servers{t: t}
	t.Cleanup(s.running.Wait) // cleanups run backwards: the sockets, opened later, are closed before
	return s
}

// tcp answers each connection with name until l is closed.
func (s *servers) tcp(name string, l net.Listener) {
	s.running.Add(1)
	go s.greet(name, l)
}

func (s *servers) greet(name string, l net.Listener) {
	defer s.running.Done()
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			s.t.Errorf("accept: %v", err)
			return
		}
		io.WriteString(c, name)
		c.Close()
	}
}

// udp notes which datagrams arrive at c until it is closed.
func (s *servers) udp(name string, c net.PacketConn) {
	s.running.Add(1)
	go s.note(name, c)
}

func (s *servers) note(name string, c net.PacketConn) {
	defer s.running.Done()
	buf := make([]byte, 64)
	for {
		n, _, err := c.ReadFrom(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil { // an error is one that ICMP brought
			s.arrivals.Store(string(buf[:n]), name)
		}
	}
}

// refused is what who returns for a RST or an ICMP port unreachable.
const refused = "refused"

// who sends a packet and returns the name of the server that it reached. The zero src leaves the choice to the kernel.
func (s *servers) who(ns *netlab.Namespace, p rule.Protocol, src netip.Addr, dst netip.AddrPort) string {
	var name string
	err := ns.Do(func() (err error) {
		name, err = s.reach(p, src, dst)
		return err
	})
	if err != nil {
		return err.Error()
	}
	return name
}

// reach is who in the calling thread's namespace.
func (s *servers) reach(p rule.Protocol, src netip.Addr, dst netip.AddrPort) (string, error) {
	c, err := dial(p.String(), src, dst)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return refused, nil
	}
	if err != nil {
		return "", err
	}
	defer c.Close()
	if p == rule.UDP {
		return s.reachUDP(c)
	}
	c.SetDeadline(time.Now().Add(patience))
	name, err := io.ReadAll(c)
	return string(name), err
}

// reachUDP sends a datagram and waits until it has arrived somewhere or ICMP says that it will not.
func (s *servers) reachUDP(c net.Conn) (string, error) {
	payload := fmt.Sprint(s.sent.Add(1))
	if _, err := io.WriteString(c, payload); err != nil {
		return "", err
	}
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if name, ok := s.arrivals.LoadAndDelete(payload); ok {
			return name.(string), nil
		}
		c.SetReadDeadline(time.Now().Add(200 * time.Microsecond))
		_, err := c.Read(make([]byte, 1))
		if errors.Is(err, syscall.ECONNREFUSED) {
			return refused, nil
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return "", fmt.Errorf("read after sending: %w", err)
		}
	}
	return "", errors.New("the datagram is lost")
}

// both are the protocols, families the addresses that tests run over.
var both = []rule.Protocol{rule.TCP, rule.UDP}

var (
	anycast4 = netip.MustParseAddr("198.18.1.2")
	anycast6 = netip.MustParseAddr("2001:db8::1:2")
	families = []netip.Addr{anycast4, anycast6}
)

// makeLocal makes the prefixes local in the namespace until the test ends.
func (w *world) makeLocal(prefixes ...netip.Prefix) {
	w.t.Helper()
	r, err := OpenLocalRoutes(LocalRouteOptions{Netns: w.opts.Netns})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { r.Close() })
	if err := r.Sync(prefixes); err != nil {
		w.t.Fatal(err)
	}
}

// serve fills a service's slots with servers of a name.
func (w *world) serve(s *Steering, all *servers, service uint16, name string) (*net.TCPListener, *net.UDPConn) {
	w.t.Helper()
	l, c := w.listen(home), w.listenPacket(home)
	all.tcp(name, l)
	all.udp(name, c)
	assign(w.t, s, service, rule.TCP, l)
	assign(w.t, s, service, rule.UDP, c)
	return l, c
}
