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
	homes       []netip.AddrPort // a receiver and a listener each
	transparent bool             // IP_TRANSPARENT, which TPROXY needs
}

// everyPort reports whether a mode brings packets of all ports to the sockets: by TPROXY, or by sk_lookup to sockets that
// are at home elsewhere.
func (p *socketPlan) everyPort() bool { return p.transparent || p.homes[0].Port() != steerPort }

// receiveBuffer holds a whole batch: each injected packet is charged with the page that it lies in.
const receiveBuffer = 2 * batch * 8192

// openSockets opens the bed's sockets in the calling thread's namespace, the server's.
func (b *steerBed) openSockets(plan socketPlan, flows []flow) error {
	b.plan = plan
	for _, home := range plan.homes {
		if err := errors.Join(b.openReceiver(home), b.openListener(home)); err != nil {
			return err
		}
	}
	for _, f := range flows {
		fd, err := b.openDatagram(f.server)
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

func (b *steerBed) openReceiver(home netip.AddrPort) error {
	fd, err := b.openDatagram(home)
	if err == nil {
		b.receivers = append(b.receivers, fd)
	}
	return err
}

// openDatagram opens a UDP socket that does not block.
func (b *steerBed) openDatagram(home netip.AddrPort) (int, error) {
	fd, err := b.open(unix.SOCK_DGRAM|unix.SOCK_NONBLOCK, home)
	if err != nil {
		return -1, err
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer); err != nil {
		return -1, fmt.Errorf("set the receive buffer: %w", err)
	}
	return fd, nil
}

func (b *steerBed) openListener(home netip.AddrPort) error {
	fd, err := b.open(unix.SOCK_STREAM, home)
	if err != nil {
		return err
	}
	if err := unix.Listen(fd, 128); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	b.listeners = append(b.listeners, fd)
	return bounded(fd)
}

// bounded makes a blocking socket give up in the end.
func bounded(fd int) error {
	limit := unix.NsecToTimeval(int64(5 * time.Second))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit); err != nil {
		return fmt.Errorf("set a timeout: %w", err)
	}
	return nil
}

// reach is how many of the destinations the bed's sockets get packets of.
func (b *steerBed) reach() int {
	if len(b.listeners) > 1 {
		return len(b.listeners)
	}
	return destinations
}

// socketOf returns the one of the receivers or listeners that gets the packets of a destination.
func socketOf(sockets []int, destination int) int { return sockets[destination%len(sockets)] }

// open opens a socket that the bed closes.
func (b *steerBed) open(kind int, addr netip.AddrPort) (int, error) {
	fd, err := b.bound(kind, addr)
	if err == nil {
		b.onClose(func() error { return unix.Close(fd) })
	}
	return fd, err
}

// bound opens a socket of the address's family and binds it.
func (b *steerBed) bound(kind int, addr netip.AddrPort) (int, error) {
	domain := unix.AF_INET6
	if addr.Addr().Is4() {
		domain = unix.AF_INET
	}
	fd, err := unix.Socket(domain, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open socket: %w", err)
	}
	if err := setOptions(fd, domain, b.plan.transparent); err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	if err := unix.Bind(fd, sockaddr(addr)); err != nil {
		return -1, errors.Join(fmt.Errorf("bind to %s: %w", addr, err), unix.Close(fd))
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
