package dns

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// On loopback every address of 127/8 is local: one socket bound to all of them shows whether replies leave from the
// right one. Both families, in both forms of the client's address.
func TestPacketConn(t *testing.T) {
	for _, home := range []string{"127.53.0.3:0", "[::1]:0"} {
		t.Run(home, func(t *testing.T) {
			c, err := ListenPacket(netip.MustParseAddrPort(home))
			must(t, err)
			defer c.Close()
			client, err := net.Dial("udp", c.LocalAddr().String())
			must(t, err)
			defer client.Close()
			must(t, client.SetDeadline(time.Now().Add(patience)))
			_, err = client.Write([]byte("ping"))
			must(t, err)
			buf := make([]byte, 100)
			n, from, err := c.ReadFrom(buf)
			must(t, err)
			a := from.(ClientAddr)
			if string(buf[:n]) != "ping" || a.String() != client.LocalAddr().String() {
				t.Errorf("%q from %s", buf[:n], a)
			}
			if a.Asked.String() != client.RemoteAddr().String() {
				t.Errorf("asked %s", a.Asked)
			}
			_, err = c.WriteTo([]byte("pong"), from)
			must(t, err)
			n, err = client.Read(buf) // connected: a reply from elsewhere would not come through
			must(t, err)
			if string(buf[:n]) != "pong" {
				t.Errorf("got %q", buf[:n])
			}
		})
	}
}

func TestPacketConnOtherPort(t *testing.T) {
	c, err := ListenPacket(loopback)
	must(t, err)
	defer c.Close()
	to := ClientAddr{Client: netip.MustParseAddrPort("127.0.0.1:9"), Asked: netip.MustParseAddrPort("127.53.0.1:1")}
	if _, err := c.WriteTo([]byte("x"), to); !errors.Is(err, ErrPort) {
		t.Errorf("got %v", err)
	}
}

// The sockets are ones that sk_lookup can steer both families to.
func TestSocketsAreDualStack(t *testing.T) {
	s := start(t, Options{})
	for name, fd := range map[string]int{"UDP": s.udp.FD(), "TCP": fdOf(t, s)} {
		domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
		must(t, err)
		if domain != unix.AF_INET6 {
			t.Errorf("%s: domain %d", name, domain)
		}
		v6only, err := unix.GetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_V6ONLY)
		must(t, err)
		if v6only != 0 {
			t.Errorf("%s: V6ONLY", name)
		}
		protocol, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
		must(t, err)
		if name == "TCP" && protocol != unix.IPPROTO_TCP {
			t.Errorf("%s: protocol %d", name, protocol)
		}
	}
}

func fdOf(t *testing.T, s *Server) (fd int) {
	raw, err := s.TCP().SyscallConn()
	must(t, err)
	must(t, raw.Control(func(f uintptr) { fd = int(f) }))
	return fd
}
