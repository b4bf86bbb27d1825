package offload

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"

	"anyport/proxy/sock"
)

// routeQuery asks the kernel by which device a datagram would leave: one message each way over a netlink
// socket (rtnetlink(7), RTM_GETROUTE), which the kernel answers within the send. It allocates nothing.
type routeQuery struct {
	fd       int
	sequence uint32
	request  [128]byte // 28 bytes of headers, four attributes of at most 20
	answer   [4096]byte
}

func openRouteQuery() (*routeQuery, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open netlink socket: %w", err)
	}
	return &routeQuery{fd: fd}, nil
}

func (q *routeQuery) close() error { return unix.Close(q.fd) }

// device returns the index of the device that UDP datagrams from src to dst leave by. It returns 0 for destinations on
// this host, for those without a route and for routes that put a header of their own before a packet (RTA_ENCAP).
func (q *routeQuery) device(src, dst *sock.Addr) uint32 {
	message := q.ask(src, dst)
	if _, err := unix.Write(q.fd, message); err != nil {
		return 0
	}
	for {
		n, err := unix.Read(q.fd, q.answer[:])
		switch {
		case err == unix.EINTR:
			continue
		case err != nil || n < unix.SizeofNlMsghdr:
			return 0
		case binary.NativeEndian.Uint32(q.answer[8:]) != q.sequence:
			continue // the answer to an earlier question that was interrupted
		}
		return routeDevice(q.answer[:n])
	}
}

// Offsets in struct nlmsghdr and struct rtmsg behind it (linux/netlink.h, linux/rtnetlink.h).
const (
	messageType     = 4
	messageFlags    = 6
	messageSequence = 8
	routeFamily     = unix.SizeofNlMsghdr
	routeDstLen     = unix.SizeofNlMsghdr + 1
	routeSrcLen     = unix.SizeofNlMsghdr + 2
	routeType       = unix.SizeofNlMsghdr + 7
	routeAttrs      = unix.SizeofNlMsghdr + unix.SizeofRtMsg
)

// ask makes the request.
func (q *routeQuery) ask(src, dst *sock.Addr) []byte {
	q.sequence++
	b := q.request[:routeAttrs]
	clear(b)
	family, from, to := byte(unix.AF_INET6), src.IP[:], dst.IP[:]
	if dst.Is4() {
		family, from, to = unix.AF_INET, src.IP[12:], dst.IP[12:]
	}
	binary.NativeEndian.PutUint16(b[messageType:], unix.RTM_GETROUTE)
	binary.NativeEndian.PutUint16(b[messageFlags:], unix.NLM_F_REQUEST)
	binary.NativeEndian.PutUint32(b[messageSequence:], q.sequence)
	b[routeFamily], b[routeDstLen], b[routeSrcLen] = family, byte(8*len(to)), byte(8*len(from))
	b = appendAttr(b, unix.RTA_DST, to)
	b = appendAttr(b, unix.RTA_SRC, from)
	b = appendAttr(b, unix.RTA_IP_PROTO, []byte{unix.IPPROTO_UDP})
	b = appendAttr(b, unix.RTA_SPORT, []byte{byte(src.Port >> 8), byte(src.Port)})
	b = appendAttr(b, unix.RTA_DPORT, []byte{byte(dst.Port >> 8), byte(dst.Port)})
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	return b
}

// appendAttr appends an attribute, padded to four bytes.
func appendAttr(b []byte, kind uint16, value []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(unix.SizeofRtAttr+len(value)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, value...)
	return append(b, make([]byte, alignAttr(len(value))-len(value))...)
}

// routeDevice reads an RTM_NEWROUTE message.
func routeDevice(b []byte) (device uint32) {
	if len(b) < routeAttrs || binary.NativeEndian.Uint16(b[messageType:]) != unix.RTM_NEWROUTE ||
		b[routeType] != unix.RTN_UNICAST {
		return 0
	}
	for b = b[routeAttrs:]; len(b) >= unix.SizeofRtAttr; {
		size := int(binary.NativeEndian.Uint16(b))
		if size < unix.SizeofRtAttr || size > len(b) {
			return 0
		}
		switch kind := binary.NativeEndian.Uint16(b[2:]); {
		case kind == unix.RTA_OIF && size == unix.SizeofRtAttr+4:
			device = binary.NativeEndian.Uint32(b[unix.SizeofRtAttr:])
		case kind == unix.RTA_ENCAP:
			return 0
		}
		b = b[min(alignAttr(size), len(b)):]
	}
	return device
}

func alignAttr(size int) int { return (size + unix.RTA_ALIGNTO - 1) &^ (unix.RTA_ALIGNTO - 1) }
