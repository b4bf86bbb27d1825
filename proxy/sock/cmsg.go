package sock

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// The layout of a control message: a length in the machine's word size, level and type, then data (cmsg(3)).
const (
	cmsgWord   = unix.SizeofCmsghdr - 8
	cmsgHeader = unix.SizeofCmsghdr
)

// OriginalDst finds the original destination in the control messages that came with a datagram: a sockaddr_in or a
// sockaddr_in6, of the types IP_ORIGDSTADDR and IPV6_ORIGDSTADDR (include/uapi/linux/in.h and in6.h, Linux 6.18). It
// reports false if there is none, or if what comes before it is malformed.
func OriginalDst(control []byte) (Addr, bool) {
	for len(control) > 0 {
		var m message
		if m, control = nextMessage(control); m.data == nil {
			break
		}
		switch {
		case m.level == unix.SOL_IP && m.kind == unix.IP_ORIGDSTADDR:
			return parseSockaddrIn(m.data)
		case m.level == unix.SOL_IPV6 && m.kind == unix.IPV6_ORIGDSTADDR:
			return parseSockaddrIn6(m.data)
		}
	}
	return Addr{}, false
}

// segmentSize finds how the kernel has joined datagrams: the size of each but the last, an int of the type UDP_GRO
// (udp(7); udp_cmsg_recv in include/linux/udp.h, Linux 6.18). It returns 0 if it has not.
func segmentSize(control []byte) int {
	for len(control) > 0 {
		var m message
		if m, control = nextMessage(control); m.data == nil {
			break
		}
		if m.level == unix.SOL_UDP && m.kind == unix.UDP_GRO && len(m.data) >= 4 {
			return int(int32(binary.NativeEndian.Uint32(m.data)))
		}
	}
	return 0
}

// message is one control message; without data, not even empty data, it is malformed.
type message struct {
	level, kind uint32
	data        []byte
}

// nextMessage splits the first message off.
func nextMessage(control []byte) (m message, rest []byte) {
	if len(control) < cmsgHeader {
		return message{}, nil
	}
	size := cmsgSize(control)
	if size < cmsgHeader || size > uint64(len(control)) {
		return message{}, nil
	}
	m.level = binary.NativeEndian.Uint32(control[cmsgWord:])
	m.kind = binary.NativeEndian.Uint32(control[cmsgWord+4:])
	m.data = control[cmsgHeader:size]
	next := (size + cmsgWord - 1) &^ (cmsgWord - 1)
	return m, control[min(next, uint64(len(control))):]
}

func cmsgSize(b []byte) uint64 {
	if cmsgWord == 8 {
		return binary.NativeEndian.Uint64(b)
	}
	return uint64(binary.NativeEndian.Uint32(b))
}

// parseSockaddrIn reads a struct sockaddr_in: family, port, address.
func parseSockaddrIn(b []byte) (Addr, bool) {
	if len(b) < unix.SizeofSockaddrInet4 || binary.NativeEndian.Uint16(b) != unix.AF_INET {
		return Addr{}, false
	}
	a := Addr{Port: binary.BigEndian.Uint16(b[2:])}
	copy(a.IP[:], mappedPrefix[:])
	copy(a.IP[12:], b[4:8])
	return a, true
}

// parseSockaddrIn6 reads a struct sockaddr_in6: family, port, flow information, address, scope.
func parseSockaddrIn6(b []byte) (Addr, bool) {
	if len(b) < unix.SizeofSockaddrInet6 || binary.NativeEndian.Uint16(b) != unix.AF_INET6 {
		return Addr{}, false
	}
	return fromSockaddr6(&unix.RawSockaddrInet6{
		Port:     binary.NativeEndian.Uint16(b[2:]),
		Addr:     [16]byte(b[8:24]),
		Scope_id: binary.NativeEndian.Uint32(b[24:]),
	}), true
}
