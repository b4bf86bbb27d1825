package offload

import (
	"encoding/binary"
	"fmt"
	"iter"

	"golang.org/x/sys/unix"

	"anyport/proxy/sock"
)

// routeQuery asks the kernel by which way a datagram would leave: one message each way over a netlink
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

// way returns the index of the device that UDP datagrams from src to dst leave by, and the MTU of the way if the kernel
// knows one besides the device's: the route's own, or what an ICMP error has told. The device is 0 for destinations on this
// host, for those without a route and for routes that put a header of their own before a packet (RTA_ENCAP).
func (q *routeQuery) way(src, dst *sock.Addr) (device uint32, mtu int) {
	message := q.ask(src, dst)
	if _, err := unix.Write(q.fd, message); err != nil {
		return 0, 0
	}
	for {
		n, err := unix.Read(q.fd, q.answer[:])
		switch {
		case err == unix.EINTR:
			continue
		case err != nil || n < unix.SizeofNlMsghdr:
			return 0, 0
		case binary.NativeEndian.Uint32(q.answer[8:]) != q.sequence:
			continue // the answer to an earlier question that was interrupted
		}
		return parseWay(q.answer[:n])
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

// parseWay reads an RTM_NEWROUTE message.
func parseWay(b []byte) (device uint32, mtu int) {
	if len(b) < routeAttrs || binary.NativeEndian.Uint16(b[messageType:]) != unix.RTM_NEWROUTE ||
		b[routeType] != unix.RTN_UNICAST {
		return 0, 0
	}
	for kind, value := range attrs(b[routeAttrs:]) {
		switch {
		case kind == unix.RTA_OIF && len(value) == 4:
			device = binary.NativeEndian.Uint32(value)
		case kind == unix.RTA_METRICS:
			mtu = parseMTU(value)
		case kind == unix.RTA_ENCAP:
			return 0, 0
		}
	}
	return device, mtu
}

// parseMTU reads the attributes of RTA_METRICS, and returns 0 if there is no MTU among them.
func parseMTU(b []byte) int {
	for kind, value := range attrs(b) {
		if kind == unix.RTAX_MTU && len(value) == 4 {
			return int(binary.NativeEndian.Uint32(value))
		}
	}
	return 0
}

// attrs yields the attributes of a message, up to one that is malformed.
func attrs(b []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for len(b) >= unix.SizeofRtAttr {
			size := int(binary.NativeEndian.Uint16(b))
			if size < unix.SizeofRtAttr || size > len(b) {
				return
			}
			if !yield(binary.NativeEndian.Uint16(b[2:])&attrKind, b[unix.SizeofRtAttr:size]) {
				return
			}
			b = b[min(alignAttr(size), len(b)):]
		}
	}
}

// attrKind takes the flags NLA_F_NESTED and NLA_F_NET_BYTEORDER off a kind (linux/netlink.h).
const attrKind = 0x3fff

func alignAttr(size int) int { return (size + unix.RTA_ALIGNTO - 1) &^ (unix.RTA_ALIGNTO - 1) }
