package bench

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// steerPort is where plain and transparent sockets listen, and the port of the work that uses only one.
const steerPort = 4242

// socketPlan is how a mode's sockets are opened.
type socketPlan struct {
	home        netip.AddrPort // of the receiver and the listener
	transparent bool           // IP_TRANSPARENT, which TPROXY needs
}

// receiveBuffer holds a whole batch: each injected packet is charged with the page that it lies in.
const receiveBuffer = 2 * batch * 8192

// openSockets opens the bed's sockets in the calling thread's namespace, the server's.
func (b *steerBed) openSockets(plan socketPlan, flows []flow) (err error) {
	const datagram = unix.SOCK_DGRAM | unix.SOCK_NONBLOCK
	if b.receiver, err = b.open(datagram, plan, plan.home); err != nil {
		return err
	}
	if err := unix.SetsockoptInt(b.receiver, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer); err != nil {
		return fmt.Errorf("set the receive buffer: %w", err)
	}
	if b.listener, err = b.open(unix.SOCK_STREAM, plan, plan.home); err != nil {
		return err
	}
	if err := unix.Listen(b.listener, 128); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	limit := unix.NsecToTimeval(int64(5 * time.Second))
	if err := unix.SetsockoptTimeval(b.listener, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit); err != nil {
		return fmt.Errorf("set the accept timeout: %w", err)
	}
	for _, f := range flows {
		fd, err := b.open(datagram, plan, f.server)
		if err != nil {
			return err
		}
		if err := unix.Connect(fd, sockaddr(f.client)); err != nil {
			return fmt.Errorf("connect to %s: %w", f.client, err)
		}
		b.flows = append(b.flows, fd)
	}
	return nil
}

// open opens a socket of the address's family and binds it; the bed closes it.
func (b *steerBed) open(kind int, plan socketPlan, addr netip.AddrPort) (int, error) {
	domain := unix.AF_INET6
	if addr.Addr().Is4() {
		domain = unix.AF_INET
	}
	fd, err := unix.Socket(domain, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open socket: %w", err)
	}
	b.onClose(func() error { return unix.Close(fd) })
	if err := setOptions(fd, domain, plan.transparent); err != nil {
		return -1, err
	}
	if err := unix.Bind(fd, sockaddr(addr)); err != nil {
		return -1, fmt.Errorf("bind to %s: %w", addr, err)
	}
	return fd, nil
}

func setOptions(fd, domain int, transparent bool) error {
	err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	switch {
	case transparent && domain == unix.AF_INET:
		err = errors.Join(err, unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TRANSPARENT, 1))
	case transparent:
		err = errors.Join(err, unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_TRANSPARENT, 1))
	case domain == unix.AF_INET6:
		// Addresses of a local route are no interface's: IPv6 binds to them only so.
		err = errors.Join(err, unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_FREEBIND, 1))
	}
	if err != nil {
		return fmt.Errorf("set socket options: %w", err)
	}
	return nil
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

// file returns a second descriptor of a socket, as a syscall.Conn.
func file(fd int) (*os.File, error) {
	second, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("duplicate a socket: %w", err)
	}
	return os.NewFile(uintptr(second), "socket"), nil
}

// discard takes every datagram out of a non-blocking socket and returns how many there were. It asks for a byte of each:
// a socket in a SOCKMAP returns at once from a receive of no length, with the datagram left in it (udp_bpf_recvmsg,
// net/ipv4/udp_bpf.c, Linux 6.18).
func discard(fd int) (int, error) {
	var one [1]byte
	for n := 0; ; n++ {
		_, err := unix.Read(fd, one[:])
		if err == unix.EAGAIN {
			return n, nil
		}
		if err != nil {
			return n, fmt.Errorf("receive: %w", err)
		}
	}
}
