package sock

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// backlog is the accept queue to ask listen(2) for; the kernel cuts it to net.core.somaxconn.
const backlog = 1 << 16

// ListenTCP opens a non-blocking listener at home, whose port may be 0. It is an AF_INET6 socket that takes both
// families, so with home [::ffff:127.0.0.1]:0 sk_lookup can steer IPv4 and IPv6 to it while only this host can reach
// it unsteered. Where the kernel has no IPv6 and home is IPv4 (mapped or not), it is an AF_INET one.
//
// It is plain TCP: a SOCKMAP takes no MPTCP socket (net/core/sock_map.c). Accepted sockets inherit TCP_NODELAY and
// SO_OOBINLINE, so that urgent data stays where it is in the stream. The caller closes the socket.
func ListenTCP(home netip.AddrPort) (*Socket, error) {
	addr := AddrFrom(home)
	fd, err := openListener(unix.AF_INET6, addr)
	if errors.Is(err, unix.EAFNOSUPPORT) && addr.Is4() {
		fd, err = openListener(unix.AF_INET, addr)
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %s/tcp: %w", home, err)
	}
	return FromFD(fd), nil
}

func openListener(family int, addr Addr) (fd int, err error) {
	fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return -1, err
	}
	if err = setListenerOptions(fd, family); err == nil {
		err = unix.Bind(fd, bindAddress(family, addr))
	}
	if err == nil {
		err = unix.Listen(fd, backlog)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func setListenerOptions(fd, family int) error {
	options := []struct{ level, name, value int }{
		{unix.SOL_SOCKET, unix.SO_REUSEADDR, 1},
		{unix.SOL_SOCKET, unix.SO_OOBINLINE, 1},
		{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
		{unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0},
	}
	if family == unix.AF_INET {
		options = options[:3]
	}
	for _, o := range options {
		if err := unix.SetsockoptInt(fd, o.level, o.name, o.value); err != nil {
			return err
		}
	}
	return nil
}

func bindAddress(family int, addr Addr) unix.Sockaddr {
	if family == unix.AF_INET {
		return &unix.SockaddrInet4{Port: int(addr.Port), Addr: addr.as4()}
	}
	return &unix.SockaddrInet6{Port: int(addr.Port), Addr: addr.IP}
}
