package dns

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"anyport/proxy/sock"
)

// listen opens the sockets at home. Where another program holds that port on all addresses, they get a free one: they
// are steered to all the same, but UDP replies then need raw sockets.
func (s *Server) listen() error {
	home := s.options.Home
	udp, err := ListenUDP(home)
	if errors.Is(err, unix.EADDRINUSE) {
		home = netip.AddrPortFrom(home.Addr(), 0)
		udp, err = ListenUDP(home)
	}
	if err != nil {
		return err
	}
	tcp, err := ListenTCP(s.options.Home)
	if errors.Is(err, unix.EADDRINUSE) {
		tcp, err = ListenTCP(netip.AddrPortFrom(home.Addr(), 0))
	}
	if err != nil {
		udp.Close()
		return err
	}
	s.udp, s.tcp = udp, tcp
	if err := s.prepareUDP(); err != nil {
		s.closeWorkers()
		udp.Close()
		tcp.Close()
		return err
	}
	return nil
}

// prepareUDP makes the UDP socket and the workers ready to serve.
func (s *Server) prepareUDP() (err error) {
	if s.port, err = localPort(s.udp); err != nil {
		return err
	}
	// The workers sleep in recvmmsg(2): one system call a batch less than with a poll.
	if err := unix.SetNonblock(s.udp.FD(), false); err != nil {
		return fmt.Errorf("make the UDP socket block: %w", err)
	}
	for i := range s.options.Workers {
		w := newUDPWorker(s, &s.stats.shards[i])
		s.workers = append(s.workers, w)
		if s.options.Home.Port() != 0 && s.options.Home.Port() != s.port {
			if err := w.openRaw(); err != nil {
				return fmt.Errorf("port %d/udp is taken, and to reply from it all the same: %w",
					s.options.Home.Port(), err)
			}
		}
	}
	return nil
}

// ListenUDP opens a UDP socket for DNS that both families of a prefix can be steered to. Each packet comes with its
// original destination (see sock.ListenUDP), and a reply may leave from any address that is local, by IP_PKTINFO or
// IPV6_PKTINFO.
func ListenUDP(home netip.AddrPort) (*sock.Socket, error) {
	s, err := sock.ListenUDP(home)
	if err != nil {
		return nil, err
	}
	if err := setUDPOptions(s.FD()); err != nil {
		s.Close()
		return nil, fmt.Errorf("set options of %s/udp: %w", home, err)
	}
	return s, nil
}

func setUDPOptions(fd int) error {
	// Path MTUs are ignored: who forges an ICMP error shall not shrink responses (RFC 9715 section 3.1).
	err := unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_OMIT)
	if err != nil {
		return err
	}
	for _, o := range []struct{ name, value int }{
		{unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_OMIT},
		{unix.IPV6_FREEBIND, 1}, // a local route does not make its addresses ones that IPV6_PKTINFO takes
	} {
		err := unix.SetsockoptInt(fd, unix.SOL_IPV6, o.name, o.value)
		if err != nil && !errors.Is(err, unix.ENOPROTOOPT) && !errors.Is(err, unix.EOPNOTSUPP) { // no IPv6 here
			return err
		}
	}
	return nil
}

// ListenTCP opens a TCP listener that both families of a prefix can be steered to (see sock.ListenTCP), as package net
// has it.
func ListenTCP(home netip.AddrPort) (*net.TCPListener, error) {
	s, err := sock.ListenTCP(home)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(s.FD()), "dns/tcp")
	defer f.Close() // FileListener has a descriptor of its own
	l, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("listen on %s/tcp: %w", home, err)
	}
	return l.(*net.TCPListener), nil
}

func localPort(s *sock.Socket) (uint16, error) {
	sa, err := unix.Getsockname(s.FD())
	if err != nil {
		return 0, fmt.Errorf("get the UDP socket's port: %w", err)
	}
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return uint16(sa.Port), nil
	case *unix.SockaddrInet6:
		return uint16(sa.Port), nil
	}
	return 0, errors.New("get the UDP socket's port: unknown address family")
}
