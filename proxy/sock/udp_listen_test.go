package sock

import (
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"anyport/bench/netlab"
)

var home = netip.MustParseAddrPort("[::ffff:127.0.0.1]:0")

// TestListenUDPHome checks that only this host reaches the socket where nothing is steered to it.
func TestListenUDPHome(t *testing.T) {
	s, err := ListenUDP(home)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	sa, err := unix.Getsockname(s.FD())
	if err != nil {
		t.Fatal(err)
	}
	if in6, ok := sa.(*unix.SockaddrInet6); !ok || netip.AddrFrom16(in6.Addr) != home.Addr() || in6.Port == 0 {
		t.Errorf("bound to %+v", sa)
	}
	if taken, err := ListenUDP(netip.AddrPortFrom(home.Addr(), uint16(sa.(*unix.SockaddrInet6).Port))); err == nil {
		taken.Close()
		t.Error("the home port was given away twice")
	}
}

// TestSetReceiveBuffer asks for more than the system lets others have. The kernel reports twice the number (socket(7)).
func TestSetReceiveBuffer(t *testing.T) {
	netlab.RequireRoot(t)
	s, err := ListenUDP(netip.MustParseAddrPort("[::ffff:127.0.0.1]:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, bytes := range []int{128 << 10, 64 << 20} {
		if err := s.SetReceiveBuffer(bytes); err != nil {
			t.Fatal(err)
		}
		if got, err := unix.GetsockoptInt(s.FD(), unix.SOL_SOCKET, unix.SO_RCVBUF); got != 2*bytes || err != nil {
			t.Errorf("a buffer of %d, want %d: %v", got, 2*bytes, err)
		}
	}
}

// TestDrops overflows a receive buffer.
func TestDrops(t *testing.T) {
	ns := anycast(t)
	s := inNamespace(t, ns, func() (*Socket, error) { return ListenUDP(netip.MustParseAddrPort("[::]:9999")) })
	if size, err := unix.GetsockoptInt(s.FD(), unix.SOL_SOCKET, unix.SO_RCVBUF); size < udpBuffer || err != nil {
		t.Errorf("receive buffer of %d bytes: %v", size, err)
	}
	if err := unix.SetsockoptInt(s.FD(), unix.SOL_SOCKET, unix.SO_RCVBUF, 10000); err != nil {
		t.Fatal(err)
	}
	c := inNamespace(t, ns, func() (net.Conn, error) { return net.Dial("udp", "198.18.3.4:9999") })
	const sent = 1000
	for range sent {
		if _, err := c.Write(make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
	}
	b := NewRecvBatch(sent)
	n, err := b.Recv(s)
	if err != nil || s.Drops() == 0 || n+int(s.Drops()) != sent {
		t.Errorf("received %d and dropped %d of %d: %v", n, s.Drops(), sent, err)
	}
}
