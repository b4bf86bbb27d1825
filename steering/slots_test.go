package steering

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"anyport/conf/rule"
)

// slotCookie returns the cookie of the one socket that a service has.
func slotCookie(t *testing.T, s *Steering, service uint16) uint64 {
	t.Helper()
	list, err := s.Slots()
	if err != nil {
		t.Fatal(err)
	}
	for _, slot := range list {
		if slot.Service == service {
			return slot.Cookie
		}
	}
	t.Fatalf("service %d has no socket: %+v", service, list)
	return 0
}

// TestSlots fills slots, lists them, and empties them by Release and by closing the socket.
func TestSlots(t *testing.T) {
	w := newWorld(t)
	s := w.load()
	l, c := w.listen(home), w.listenPacket(home)
	assign(t, s, 0, rule.TCP, l)
	assign(t, s, MaxServices-1, rule.UDP, c)
	assign(t, s, 3, rule.TCP, l)
	wantSlots(t, s, []Slot{{0, rule.TCP, connCookie(t, l)}, {3, rule.TCP, connCookie(t, l)},
		{MaxServices - 1, rule.UDP, connCookie(t, c)}})
	other := w.listen(home)
	assign(t, s, 3, rule.TCP, other)
	for range 2 { // the second finds it empty
		if err := s.Release(0, rule.TCP); err != nil {
			t.Fatal(err)
		}
	}
	wantSlots(t, s, []Slot{{3, rule.TCP, connCookie(t, other)}, {MaxServices - 1, rule.UDP, connCookie(t, c)}})
	c.Close()
	other.Close()
	wantSlots(t, s, nil)
}

func wantSlots(t *testing.T, s *Steering, want []Slot) {
	t.Helper()
	list, err := s.Slots()
	if err != nil || len(list) != len(want) {
		t.Fatalf("slots: %+v, %v; want %+v", list, err, want)
	}
	for i := range list {
		if list[i] != want[i] {
			t.Errorf("slot %+v, want %+v", list[i], want[i])
		}
	}
}

func connCookie(t *testing.T, conn syscall.Conn) uint64 {
	t.Helper()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var c uint64
	if err := raw.Control(func(fd uintptr) { c = cookie(t, int(fd)) }); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestUnfitSockets checks that Assign says what is wrong with a socket.
func TestUnfitSockets(t *testing.T) {
	w := newWorld(t)
	s := w.load()
	for _, c := range []struct {
		name   string
		p      rule.Protocol
		open   func() (syscall.Conn, error)
		reason string
		errno  error
		hint   string
	}{
		{"MPTCP listener", rule.TCP, listenMPTCP, "MPTCP", unix.EOPNOTSUPP, "GODEBUG=multipathtcp=0"},
		{"connected TCP", rule.TCP, connectedTCP, "does not listen", nil, ""},
		{"connected UDP", rule.UDP, connectedUDP, "connected", nil, ""},
		{"unbound UDP", rule.UDP, unboundUDP, "not bound", nil, ""},
		{"UDP for TCP", rule.TCP, unboundUDP, "socket for udp", nil, ""},
		{"TCP for UDP", rule.UDP, plainTCP, "socket for tcp", nil, ""},
		{"Unix socket", rule.TCP, unixSocket, "socket for", nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := w.ns.Do(func() error {
				conn, err := c.open()
				if err != nil {
					return err
				}
				defer conn.(interface{ Close() error }).Close()
				return s.Assign(0, c.p, conn)
			})
			var unfit *SocketError
			if !errors.As(err, &unfit) || !strings.Contains(unfit.Reason, c.reason) ||
				!strings.Contains(Hint(err), c.hint) || c.errno != nil && !errors.Is(err, c.errno) {
				t.Errorf("Assign: %v (hint %q)", err, Hint(err))
			}
		})
	}
	wantSlots(t, s, nil)
}

func listenMPTCP() (syscall.Conn, error) {
	var lc net.ListenConfig
	lc.SetMultipathTCP(true)
	l, err := lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	return l.(*net.TCPListener), nil
}

func plainTCP() (syscall.Conn, error) {
	l, err := listenTCP(home)
	if err != nil {
		return nil, err
	}
	return l.(*net.TCPListener), nil
}

func connectedTCP() (syscall.Conn, error) {
	l, err := listenTCP(home)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	c, err := dial("tcp", netip.Addr{}, l.Addr().(*net.TCPAddr).AddrPort())
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil
}

func connectedUDP() (syscall.Conn, error) {
	return net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:9")))
}

// openDescriptor is a descriptor that a test owns itself.
type openDescriptor struct{ descriptor }

func (d openDescriptor) Close() error { return unix.Close(int(d.descriptor)) }

func unboundUDP() (syscall.Conn, error) {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	return openDescriptor{descriptor(fd)}, err
}

func unixSocket() (syscall.Conn, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	return openDescriptor{descriptor(fd)}, err
}

// TestNoSuchSlot names services and protocols that have no slot.
func TestNoSuchSlot(t *testing.T) {
	w := newWorld(t)
	s := w.load()
	l := w.listen(home)
	for name, err := range map[string]error{
		"service": s.Assign(MaxServices, rule.TCP, l),
		"both":    s.Assign(0, rule.Both, l),
		"release": s.Release(rule.NoService, rule.TCP),
	} {
		if err == nil {
			t.Errorf("%s: there is such a slot", name)
		}
	}
}
