package sock

import (
	"errors"
	"fmt"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// udpBuffer is what ListenUDP asks for as receive buffer, in bytes: 14 ms of 64-byte datagrams at 300,000 a second,
// each of which costs the buffer some 900 bytes (sk_buff truesize). Without CAP_NET_ADMIN net.core.rmem_max limits it.
const udpBuffer = 4 << 20

// ListenUDP opens a non-blocking, unconnected UDP socket bound to home, whose port may be 0. It is an AF_INET6 socket
// that takes both families, so with home [::ffff:127.0.0.1]:0 sk_lookup can steer IPv4 and IPv6 to it while only this
// host can reach it unsteered. Where the kernel has no IPv6 and home is IPv4 (mapped or not), it is an AF_INET one.
//
// Each datagram comes with its original destination, for a [RecvBatch] to read. The caller closes the socket.
func ListenUDP(home netip.AddrPort) (*Socket, error) { return listenUDP(home, false) }

// ListenUDPGroup opens n sockets like ListenUDP's on one port. What is steered to one of them the kernel spreads over
// all, by a hash of source and destination (SO_REUSEPORT in socket(7); reuseport_select_sock): a flow stays with its
// socket until one of them is closed.
func ListenUDPGroup(home netip.AddrPort, n int) (group []*Socket, err error) {
	for range n {
		s, err := listenUDP(home, n > 1)
		if err == nil {
			group = append(group, s)
			home, err = s.home()
		}
		if err != nil {
			for _, s := range group {
				s.Close()
			}
			return nil, err
		}
	}
	return group, nil
}

// home returns the address that a UDP socket is bound to.
func (s *Socket) home() (netip.AddrPort, error) {
	local, err := unix.Getsockname(s.fd)
	switch a := local.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port)), nil
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port)), nil
	}
	return netip.AddrPort{}, fmt.Errorf("read socket's address: %w", err)
}

func listenUDP(home netip.AddrPort, shared bool) (*Socket, error) {
	addr := AddrFrom(home)
	family := unix.AF_INET6
	fd, err := datagramSocket(family)
	if errors.Is(err, unix.EAFNOSUPPORT) && addr.Is4() {
		family = unix.AF_INET
		fd, err = datagramSocket(family)
	}
	if err == nil && shared {
		fd, err = closeOnError(fd, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1))
	}
	if err == nil {
		fd, err = closeOnError(fd, bindUDP(fd, family, addr))
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %s/udp: %w", home, err)
	}
	return FromFD(fd), nil
}

func datagramSocket(family int) (fd int, err error) {
	return unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_UDP)
}

func bindUDP(fd, family int, addr Addr) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_RECVORIGDSTADDR, 1); err != nil {
		return err
	}
	var to unix.Sockaddr = &unix.SockaddrInet4{Port: int(addr.Port), Addr: addr.as4()}
	if family == unix.AF_INET6 {
		if err := unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_V6ONLY, 0); err != nil {
			return err
		}
		if err := unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_RECVORIGDSTADDR, 1); err != nil {
			return err
		}
		to = &unix.SockaddrInet6{Port: int(addr.Port), Addr: addr.IP}
	}
	if err := growBuffer(fd, unix.SO_RCVBUFFORCE, unix.SO_RCVBUF, udpBuffer); err != nil {
		return err
	}
	return unix.Bind(fd, to)
}

// SetReceiveBuffer asks for another receive buffer than ListenUDP does, in bytes of memory, of which datagrams take more
// than their content. Without CAP_NET_ADMIN net.core.rmem_max limits it.
func (s *Socket) SetReceiveBuffer(bytes int) error {
	if err := growBuffer(s.fd, unix.SO_RCVBUFFORCE, unix.SO_RCVBUF, bytes); err != nil {
		return fmt.Errorf("set receive buffer: %w", err)
	}
	return nil
}

// growBuffer asks for a buffer, past the system's limit if it may (socket(7)).
func growBuffer(fd, force, option, bytes int) error {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, force, bytes) == nil {
		return nil
	}
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, bytes)
}

// Of SO_MEMINFO (include/uapi/linux/sock_diag.h, Linux 4.12): an array of numbers, one of them the drops.
const (
	soMeminfo    = 55
	meminfoDrops = 8
	meminfoVars  = 9
)

// Drops returns how many datagrams the kernel has dropped because the socket's receive buffer was full or a checksum
// was wrong, modulo 2^32, and 0 for a closed socket.
func (s *Socket) Drops() uint32 {
	if s.closed.Load() {
		return 0
	}
	var info [meminfoVars]uint32
	size := uint32(unsafe.Sizeof(info))
	_, _, errno := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(s.fd), unix.SOL_SOCKET, soMeminfo,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return 0
	}
	return info[meminfoDrops]
}
