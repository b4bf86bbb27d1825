package sock

import (
	"encoding/binary"
	"math/rand/v2"

	"golang.org/x/sys/unix"
)

// cutter sends UDP datagrams over IPv6 in fragments of its own making, for which it has a raw socket whose protocol is the
// fragment header. The kernel cuts what is longer than the path's MTU, but nothing that is shorter: IPV6_MTU says only
// where to cut then (__ip6_finish_output in net/ipv6/ip6_output.c, Linux 6.18).
type cutter struct {
	queue *rawQueue
	udp   [udpHeader]byte // of the datagram that is being sent
}

// maxFragments is how many fragments of 1,280 bytes the longest datagram takes.
const maxFragments = (1<<16 - 1 + minMTU6 - 1) / (minMTU6 - ipv6Header - fragmentHeader)

// openCutter opens the socket. What is longer than the path's MTU it refuses, as a fragment cannot be cut again.
func openCutter() (*cutter, error) {
	fd, err := openRaw6(unix.IPPROTO_FRAGMENT)
	if err != nil {
		return nil, err
	}
	err = unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DO)
	if fd, err = closeOnError(fd, err); err != nil {
		return nil, err
	}
	return &cutter{queue: newRawQueue(fd, maxFragments)}, nil
}

// send sends a datagram in packets of at most mtu bytes. It reports false, and has sent nothing, if the path carries only
// shorter ones: then the kernel cuts.
func (c *cutter) send(src, dst *Addr, payload []byte, mtu int, failed func(error)) bool {
	c.cut(src, dst, payload, mtu)
	sent, errno := c.queue.send(0)
	if errno == unix.EMSGSIZE {
		c.queue.n = 0
		return false
	}
	c.queue.flushFrom(max(sent, 0), failed)
	return true
}

// cut queues the fragments (RFC 8200, section 4.5). All but the last hold a multiple of eight bytes.
func (c *cutter) cut(src, dst *Addr, payload []byte, mtu int) {
	from, _ := src.wire()
	c.udp = headerOf(src, dst, payload)
	room := (mtu - ipv6Header - fragmentHeader) &^ 7
	id := rand.Uint32() // RFC 7739, section 5.3
	head, offset := c.udp[:], 0
	for more := uint16(1); more != 0; {
		n := min(room-len(head), len(payload))
		if n == len(payload) {
			more = 0
		}
		fragment := [fragmentHeader]byte{protocolUDP}
		binary.BigEndian.PutUint16(fragment[2:], uint16(offset)|more)
		binary.BigEndian.PutUint32(fragment[4:], id)
		c.queue.pushFragment(fragment, &from, dst, head, payload[:n])
		offset += len(head) + n
		head, payload = nil, payload[n:]
	}
}
