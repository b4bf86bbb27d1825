package dns

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Pauses after a failed accept. The usual cause is want of descriptors, which a closing connection sets free; asking
// without a pause would only burn a core.
const (
	minAcceptPause = 5 * time.Millisecond
	maxAcceptPause = time.Second
)

// acceptTCP serves connections until the listener is closed. No other error ends it: each is one of the connection
// that was about to be accepted, or of a shortage that passes (accept(2)).
func (s *Server) acceptTCP(accept func() (*net.TCPConn, error)) error {
	pause := minAcceptPause
	for {
		conn, err := accept()
		if err == nil {
			pause = minAcceptPause
			s.admit(conn)
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		s.stats.warn(s.options.Logger, "a TCP connection could not be accepted", err)
		if !s.sleep(pause) {
			return nil
		}
		pause = min(2*pause, maxAcceptPause)
	}
}

// sleep waits, and reports whether the server still runs.
func (s *Server) sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-s.stop:
		return false
	}
}

// admit starts to serve a connection, or closes it if there are too many.
func (s *Server) admit(conn *net.TCPConn) {
	if !s.streams.add(conn) {
		s.stats.tcpRefused.Add(1)
		// A reset, so that no descriptor lingers in TIME_WAIT for a client that is not served.
		_ = conn.SetLinger(0)
		_ = conn.Close()
		return
	}
	go s.serveStream(conn)
}

// streams keeps account of the open connections.
type streams struct {
	max       int
	perClient int
	open      sync.WaitGroup

	mu      sync.Mutex                  // guards the fields below
	conns   map[*net.TCPConn]netip.Addr // of its client
	clients map[netip.Addr]int          // open connections
	halted  bool
}

func newStreams(n, perClient int) *streams {
	return &streams{
		max: n, perClient: perClient, conns: make(map[*net.TCPConn]netip.Addr), clients: make(map[netip.Addr]int),
	}
}

// add counts a connection in; it returns false if there are too many, of its client or of all, or none are wanted any
// more.
func (t *streams) add(c *net.TCPConn) bool {
	client := clientOf(c)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.halted || len(t.conns) >= t.max || t.clients[client] >= t.perClient {
		return false
	}
	t.conns[c] = client
	t.clients[client]++
	t.open.Add(1)
	return true
}

// remove counts a connection out.
func (t *streams) remove(c *net.TCPConn) {
	t.mu.Lock()
	client := t.conns[c]
	delete(t.conns, c)
	if t.clients[client]--; t.clients[client] == 0 {
		delete(t.clients, client)
	}
	t.mu.Unlock()
	t.open.Done()
}

// clientBits6 is how much of an IPv6 address tells clients apart: a host makes up the rest as it likes (RFC 4291
// section 2.5.1, RFC 8981).
const clientBits6 = 64

// clientOf returns the address that a connection counts for.
func clientOf(c *net.TCPConn) netip.Addr {
	addr := unmapped(c.RemoteAddr()).Addr()
	if addr.Is4() {
		return addr
	}
	network, _ := addr.WithZone("").Prefix(clientBits6) // of an IPv6 address it cannot fail
	return network.Addr()
}

// count returns how many connections are open.
func (t *streams) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.conns)
}

// crowded reports whether most places are taken.
func (t *streams) crowded() bool { return t.count() > t.max/4*3 }

// patience sets how long a connection may wait for its next query; 0: for ever. It returns false if it is to end
// instead. Under the lock, so that it cannot undo what halt does.
func (t *streams) patience(c *net.TCPConn, d time.Duration) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.halted {
		return false
	}
	var deadline time.Time
	if d > 0 {
		deadline = time.Now().Add(d)
	}
	return c.SetReadDeadline(deadline) == nil
}

// halt lets no connection wait for a further query.
func (t *streams) halt() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.halted = true
	for c := range t.conns {
		_ = c.SetReadDeadline(time.Unix(1, 0))
	}
}

// close closes all connections.
func (t *streams) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for c := range t.conns {
		_ = c.Close()
	}
}

// wait waits until all connections have ended.
func (t *streams) wait() { t.open.Wait() }
