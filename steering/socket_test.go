package steering

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Sockets are opened by system calls here, because package net cannot bind a dual-stack socket to an IPv4-mapped
// address. These functions run in the calling thread's namespace.

// openSocket returns a bound AF_INET6 socket that serves both families.
func openSocket(kind int, address string, reusePort bool) (fd int, err error) {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return -1, err
	}
	if fd, err = unix.Socket(unix.AF_INET6, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	err = errors.Join(unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0),
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_FREEBIND, 1))
	if err == nil && kind == unix.SOCK_STREAM { // past connections on the port do not hold it
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	}
	if err == nil && reusePort {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet6{Addr: to.Addr().As16(), Port: int(to.Port())})
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("bind %s: %w", address, err)
	}
	return fd, nil
}

func listenTCP(address string) (net.Listener, error) {
	fd, err := openSocket(unix.SOCK_STREAM, address, false)
	if err != nil {
		return nil, err
	}
	return listenOn(fd)
}

// listenOn makes a listener of a bound socket, which it owns.
func listenOn(fd int) (net.Listener, error) {
	file := os.NewFile(uintptr(fd), "listener")
	defer file.Close()
	if err := unix.Listen(fd, 1024); err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	return net.FileListener(file)
}

func listenUDP(address string) (*net.UDPConn, error) {
	fd, err := openSocket(unix.SOCK_DGRAM, address, false)
	if err != nil {
		return nil, err
	}
	return packetConn(fd)
}

// packetConn makes a UDPConn of a bound socket, which it owns.
func packetConn(fd int) (*net.UDPConn, error) {
	file := os.NewFile(uintptr(fd), "socket")
	defer file.Close()
	c, err := net.FilePacketConn(file)
	if err != nil {
		return nil, err
	}
	return c.(*net.UDPConn), nil
}

// patience is how long a test waits for what must happen. It is long for slow machines and decides nothing else.
const patience = 10 * time.Second

// dial connects from src, or from anywhere if that is the zero Addr.
func dial(network string, src netip.Addr, dst netip.AddrPort) (net.Conn, error) {
	d := net.Dialer{Timeout: patience, Control: freebind}
	d.SetMultipathTCP(false)
	if src.IsValid() {
		d.LocalAddr = localAddr(network, src)
	}
	return d.DialContext(context.Background(), network, dst.String())
}

func localAddr(network string, src netip.Addr) net.Addr {
	from := netip.AddrPortFrom(src, 0)
	if network == "udp" {
		return net.UDPAddrFromAddrPort(from)
	}
	return net.TCPAddrFromAddrPort(from)
}

// freebind lets a socket bind an IPv6 address that is local by route only (ip(7), ipv6(7)).
func freebind(network, _ string, raw syscall.RawConn) error {
	if network != "tcp6" && network != "udp6" {
		return nil
	}
	var err error
	controlErr := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_FREEBIND, 1)
	})
	return errors.Join(controlErr, err)
}
