package bench

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"anyport/bench/netlab"
)

// dnsWindow is how many queries are under way at a time: enough to keep a server busy, and few enough for every
// server's receive buffer.
const dnsWindow = 128

// dnsBatch is how many packets one system call sends or receives at most.
const dnsBatch = 64

// dnsPool is how many queries are made before the clock runs; they are sent in turn.
const dnsPool = 8192

// dnsPatience is how long nothing may come before all that is under way counts as lost.
const dnsPatience = 200 * time.Millisecond

// dnsGenerator asks one server from one address and port, and checks every answer. A slot is one query under way.
type dnsGenerator struct {
	fd        int // receives
	link      *dnsLink
	addresses []netip.Addr // asked in turn
	queries   []dnsQuery   // sent in turn
	turn      int
	slots     [dnsWindow]dnsSlot
	free      []int
	send      [dnsBatch]dnsPacket
	receive   [dnsBatch]dnsPacket
	out, in   [dnsBatch]dnsMessage
}

type dnsSlot struct {
	id    uint16 // its low byte is the number of the slot
	busy  bool
	query *dnsQuery
	to    netip.Addr
}

// dnsPacket is the memory for one packet.
type dnsPacket struct {
	addr unix.RawSockaddrInet6 // where it came from; or a RawSockaddrInet4
	iov  unix.Iovec
	data [2048]byte
}

// dnsMessage is struct mmsghdr (recvmmsg(2)).
type dnsMessage struct {
	hdr unix.Msghdr
	len uint32
	_   [4]byte
}

// dnsCount is what one measurement saw.
type dnsCount struct{ right, wrong, lost int }

// The server's port and the client's.
const (
	dnsPort       = 53
	dnsClientPort = 20053
)

// newDNSGenerator opens the sockets of a client of some addresses of one family.
func newDNSGenerator(client, server *netlab.Namespace, addresses []netip.Addr, rng *rand.Rand) (*dnsGenerator, error) {
	g := &dnsGenerator{addresses: addresses}
	own := dnsLinks[1][1].Addr()
	if addresses[0].Is4() {
		own = dnsLinks[0][1].Addr()
	}
	from := netip.AddrPortFrom(own, dnsClientPort)
	if err := client.Do(func() error { return g.open(from) }); err != nil {
		return nil, err
	}
	var err error
	if g.link, err = newDNSLink(client, server, from); err != nil {
		return nil, errors.Join(err, unix.Close(g.fd))
	}
	for range dnsPool {
		g.queries = append(g.queries, randomDNSQuery(rng))
	}
	for i := range dnsBatch {
		g.send[i].prepare(&g.out[i].hdr)
		g.receive[i].prepare(&g.in[i].hdr)
		g.receive[i].iov.SetLen(len(g.receive[i].data))
		g.in[i].hdr.Name = (*byte)(unsafe.Pointer(&g.receive[i].addr))
	}
	return g, nil
}

func (g *dnsGenerator) open(own netip.AddrPort) (err error) {
	family := unix.AF_INET6
	if own.Addr().Is4() {
		family = unix.AF_INET
	}
	if g.fd, err = unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return fmt.Errorf("open socket: %w", err)
	}
	patience := unix.NsecToTimeval(int64(dnsPatience))
	err = errors.Join(unix.SetsockoptTimeval(g.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &patience),
		unix.SetsockoptInt(g.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 4<<20), unix.Bind(g.fd, sockaddr(own)))
	if err != nil {
		return errors.Join(fmt.Errorf("prepare socket: %w", err), unix.Close(g.fd))
	}
	return nil
}

func (p *dnsPacket) prepare(h *unix.Msghdr) {
	p.iov.Base = &p.data[0]
	h.Iov = &p.iov
	h.SetIovlen(1)
}

func (g *dnsGenerator) close() error { return errors.Join(g.link.close(), unix.Close(g.fd)) }

// run asks for a while, and then until nothing is under way.
func (g *dnsGenerator) run(d time.Duration) (c dnsCount, err error) {
	g.reset()
	for end := time.Now().Add(d); ; {
		if time.Now().Before(end) {
			if err := g.ask(); err != nil {
				return c, err
			}
		} else if len(g.free) == dnsWindow {
			return c, nil
		}
		n, err := g.read()
		if err != nil {
			return c, err
		}
		if n == 0 {
			c.lost += dnsWindow - len(g.free)
			g.reset()
		}
		for i := range n {
			g.take(i, &c)
		}
	}
}

// reset gives all slots up. Their numbers grow, so that a late answer is told from one to a newer query.
func (g *dnsGenerator) reset() {
	g.free = g.free[:0]
	for i := range g.slots {
		g.slots[i].busy = false
		g.free = append(g.free, i)
	}
}

// ask sends as many queries as there are free slots.
func (g *dnsGenerator) ask() error {
	for len(g.free) > 0 {
		n := min(len(g.free), dnsBatch)
		for i := range n {
			g.fill(i, g.free[len(g.free)-1])
			g.free = g.free[:len(g.free)-1]
		}
		for sent := 0; sent < n; {
			k, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(g.link.fd), uintptr(unsafe.Pointer(&g.out[sent])),
				uintptr(n-sent), 0, 0, 0)
			if errno != 0 && errno != unix.EINTR {
				return fmt.Errorf("send queries: %w", errno)
			}
			if errno == 0 {
				sent += int(k)
			}
		}
	}
	return nil
}

// fill makes packet i the next query, under way in a slot.
func (g *dnsGenerator) fill(i, slot int) {
	s, p := &g.slots[slot], &g.send[i]
	s.query, s.to = &g.queries[g.turn%len(g.queries)], g.addresses[g.turn%len(g.addresses)]
	g.turn++
	s.id, s.busy = s.id&0xFF00+0x100|uint16(slot), true
	p.iov.SetLen(g.link.write(p.data[:], s.to, s.query.packet, s.id))
}

// from returns where a packet came from, or the zero value if that was another port than that of DNS.
func (p *dnsPacket) from() netip.Addr {
	if (*[4]byte)(unsafe.Pointer(&p.addr))[3] != dnsPort {
		return netip.Addr{}
	}
	if p.addr.Family == unix.AF_INET {
		return netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(&p.addr)).Addr)
	}
	return netip.AddrFrom16(p.addr.Addr)
}

// read waits for packets and returns how many there are; 0 if none came for dnsPatience.
func (g *dnsGenerator) read() (int, error) {
	for i := range g.in {
		g.in[i].hdr.Namelen = unix.SizeofSockaddrInet6
	}
	n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(g.fd), uintptr(unsafe.Pointer(&g.in[0])), dnsBatch,
		unix.MSG_WAITFORONE, 0, 0)
	switch errno {
	case 0:
		return int(n), nil
	case unix.EAGAIN:
		return 0, nil
	case unix.EINTR:
		return g.read()
	}
	return 0, fmt.Errorf("receive answers: %w", errno)
}

// take checks packet i and frees its slot.
func (g *dnsGenerator) take(i int, c *dnsCount) {
	p := &g.receive[i]
	msg := p.data[:g.in[i].len]
	if len(msg) < 2 {
		c.wrong++
		return
	}
	id := binary.BigEndian.Uint16(msg)
	s := &g.slots[id&0xFF]
	if !s.busy || s.id != id { // late: it was counted as lost
		return
	}
	s.busy = false
	g.free = append(g.free, int(id&0xFF))
	if p.from() == s.to && s.query.check(msg) {
		c.right++
	} else {
		c.wrong++
	}
}
