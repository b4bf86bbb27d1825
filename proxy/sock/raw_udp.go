package sock

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// RawUDP sends UDP datagrams from any source address and port, whoever may hold that port on this host. It has one raw
// socket for each family; neither ever receives. The kernel makes the IP header, chooses the route by both addresses,
// honours path MTUs and fragments; RawUDP makes the UDP header and its checksum. Sockets that supply the IP header
// themselves (IP_HDRINCL) cost the same per datagram, and would have to know the MTU of every path.
//
// Datagrams are queued and leave together. It is for one goroutine at a time, and needs CAP_NET_RAW.
type RawUDP struct {
	v4, v6 *rawQueue // v6 is nil where the kernel has no IPv6
	cutter *cutter   // nil, too
	failed func(error)
}

// Addresses that no packet is ever sent to: the IPv4 dummy address (RFC 7600) and one of the discard prefix
// (RFC 6666). A raw socket bound to one is passed over when packets come in (raw_v4_match in net/ipv4/raw.c,
// raw_v6_match in net/ipv6/raw.c, Linux 6.18), before they are copied for it.
var (
	nowhere4 = [4]byte{192, 0, 0, 8}
	nowhere6 = [16]byte{0: 0x01, 15: 0x01}
)

// OpenRawUDP opens the sockets with room for n queued datagrams a family. failed is called for each datagram that could
// not be sent, with the reason, from within Queue and Flush. The caller calls Close.
func OpenRawUDP(n int, failed func(error)) (*RawUDP, error) {
	fd4, err := openRaw4()
	if err != nil {
		return nil, fmt.Errorf("open raw socket for IPv4: %w", err)
	}
	r := &RawUDP{v4: newRawQueue(fd4, n), failed: failed}
	fd6, err := openRaw6(unix.IPPROTO_UDP)
	if err == nil {
		r.v6 = newRawQueue(fd6, n)
		r.cutter, err = openCutter()
	}
	switch {
	case err == nil:
	case !errors.Is(err, unix.EAFNOSUPPORT):
		r.Close()
		return nil, fmt.Errorf("open raw socket for IPv6: %w", err)
	}
	return r, nil
}

func openRaw4() (int, error) {
	fd, err := rawSocket(unix.AF_INET, unix.IPPROTO_UDP)
	if err != nil {
		return -1, err
	}
	// An original destination may be an address that is not the host's own, as on a gateway: IP_TRANSPARENT. Don't
	// Fragment stays clear, because the "fragmentation needed" answer to an anycast address may reach another node.
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_TRANSPARENT, 1),
		unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DONT),
		growBuffer(fd, unix.SO_SNDBUFFORCE, unix.SO_SNDBUF, udpBuffer),
		DropAll(fd), unix.Bind(fd, &unix.SockaddrInet4{Addr: nowhere4}))
	return closeOnError(fd, err)
}

// openRaw6 opens a socket that puts IPv6 headers before what is of a protocol.
func openRaw6(protocol int) (int, error) {
	fd, err := rawSocket(unix.AF_INET6, protocol)
	if err != nil {
		return -1, err
	}
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_TRANSPARENT, 1),
		growBuffer(fd, unix.SO_SNDBUFFORCE, unix.SO_SNDBUF, udpBuffer),
		DropAll(fd), unix.Bind(fd, &unix.SockaddrInet6{Addr: nowhere6}))
	return closeOnError(fd, err)
}

func rawSocket(family, protocol int) (int, error) {
	return unix.Socket(family, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, protocol)
}

// DropAll attaches a classic BPF filter that accepts 0 bytes of every packet (socket(7), SO_ATTACH_FILTER).
func DropAll(fd int) error {
	drop := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &drop})
}

func closeOnError(fd int, err error) (int, error) {
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// Most that a datagram can carry: the length fields of IPv4 (RFC 791) and UDP (RFC 768) count 16 bits, the first one
// with its own header; IPv6's payload length does not include its header (RFC 8200).
const (
	maxPayload4 = 1<<16 - 1 - 20 - udpHeader
	maxPayload6 = 1<<16 - 1 - udpHeader
)

// MaxPayload returns how many bytes a datagram to dst can carry: 65,507 over IPv4, 65,527 over IPv6.
func MaxPayload(dst Addr) int {
	if dst.Is4() {
		return maxPayload4
	}
	return maxPayload6
}

// Queue queues a datagram of head and payload from src to dst, which are of one family. Together they are at most
// MaxPayload, head's length is even, and neither may change before Flush. A full queue is sent first.
func (r *RawUDP) Queue(src, dst *Addr, head, payload []byte) {
	q := r.v4
	if !dst.Is4() {
		q = r.v6
	}
	if q == nil {
		r.failed(unix.EAFNOSUPPORT)
		return
	}
	if q.full() {
		q.flush(r.failed)
	}
	q.push(src, dst, head, payload)
}

// QueueCut is Queue for a datagram without a head that leaves in packets of at most mtu bytes, 1,280 or more, even where
// its way would carry longer ones. Over IPv4 it is Queue: Don't Fragment stays clear, so that any router may cut.
func (r *RawUDP) QueueCut(src, dst *Addr, payload []byte, mtu int) {
	if dst.Is4() || r.cutter == nil || PacketSize(dst, len(payload)) <= mtu {
		r.Queue(src, dst, nil, payload)
		return
	}
	r.v6.flush(r.failed) // what was before stays before
	if !r.cutter.send(src, dst, payload, mtu, r.failed) {
		r.Queue(src, dst, nil, payload)
	}
}

// Flush sends what is queued. A datagram that cannot be sent does not keep back those behind it.
func (r *RawUDP) Flush() {
	r.v4.flush(r.failed)
	if r.v6 != nil {
		r.v6.flush(r.failed)
	}
}

// Close closes the sockets. What is queued is not sent.
func (r *RawUDP) Close() error {
	err := unix.Close(r.v4.fd)
	if r.v6 != nil {
		err = errors.Join(err, unix.Close(r.v6.fd))
	}
	if r.cutter != nil {
		err = errors.Join(err, unix.Close(r.cutter.queue.fd))
	}
	return err
}
