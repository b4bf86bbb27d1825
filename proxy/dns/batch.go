package dns

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"

	"anyport/proxy/sock"
)

// batchSize is how many packets one system call reads or sends at most. The gain flattens out beyond some 32.
const batchSize = 64

// querySize is the room for a query. One that is longer, which only EDNS options can make it, is cut off and so
// malformed. The odd cache line keeps the buffers of a batch in different sets of the cache.
const querySize = 4096 + 64

// mmsghdr is struct mmsghdr of recvmmsg(2) and sendmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32 // bytes received or sent
}

// batch is the memory for one round: packets are read into its slots, and responses go back to where they came from.
// It is for one goroutine.
type batch struct {
	fd   int
	in   [batchSize]mmsghdr
	out  [batchSize]mmsghdr
	slot [batchSize]slot
	data []byte // queries
	room []byte // responses
	size int    // of the room for one response
	n    int    // responses queued
}

// slot is what one packet needs besides its content. The client's address is used as it came.
type slot struct {
	client  unix.RawSockaddrInet6 // or a RawSockaddrInet4
	control [64]byte              // the original destination, of either family
	query   unix.Iovec
	reply   unix.Iovec
	from4   pktinfo4
	from6   pktinfo6
}

// pktinfo4 and pktinfo6 are the control messages that choose a reply's source address (ip(7), ipv6(7)).
type (
	pktinfo4 struct {
		hdr  unix.Cmsghdr
		info unix.Inet4Pktinfo
	}
	pktinfo6 struct {
		hdr  unix.Cmsghdr
		info unix.Inet6Pktinfo
	}
)

// newBatch returns a batch for a socket, with room for responses of size bytes.
func newBatch(s *sock.Socket, size int) *batch {
	size = (size+63)&^63 + 64
	b := &batch{fd: s.FD(), data: make([]byte, batchSize*querySize), room: make([]byte, batchSize*size), size: size}
	for i := range b.slot {
		s := &b.slot[i]
		s.from4.hdr = unix.Cmsghdr{Level: unix.SOL_IP, Type: unix.IP_PKTINFO}
		s.from4.hdr.SetLen(unix.CmsgLen(unix.SizeofInet4Pktinfo))
		s.from6.hdr = unix.Cmsghdr{Level: unix.SOL_IPV6, Type: unix.IPV6_PKTINFO}
		s.from6.hdr.SetLen(unix.CmsgLen(unix.SizeofInet6Pktinfo))
		s.query.Base = &b.data[i*querySize]
		s.query.SetLen(querySize)
		s.reply.Base = &b.room[i*size]
		in := &b.in[i].hdr
		in.Name = (*byte)(unsafe.Pointer(&s.client))
		in.Control = &s.control[0]
		in.Iov = &s.query
		in.SetIovlen(1)
	}
	return b
}

// receive waits for packets and returns how many there are; 0 once the socket was shut down and has no more. It goes
// through Syscall, since it may sleep in the kernel for long.
func (b *batch) receive() (int, error) {
	for {
		for i := range b.in {
			h := &b.in[i].hdr
			h.Namelen = unix.SizeofSockaddrInet6
			h.SetControllen(len(b.slot[i].control))
		}
		n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(b.fd), uintptr(unsafe.Pointer(&b.in[0])), batchSize,
			unix.MSG_WAITFORONE, 0, 0)
		switch {
		case errno == unix.EINTR:
			continue
		case errno != 0:
			return 0, errno
		case b.in[0].hdr.Namelen == 0: // no packet, not even an empty one
			return 0, nil
		}
		return int(n), nil
	}
}

// query returns the content of packet i.
func (b *batch) query(i int) []byte {
	return b.data[i*querySize:][:min(b.in[i].len, querySize)]
}

// response returns the room for the response to packet i.
func (b *batch) response(i int) []byte { return b.room[i*b.size:][:b.size] }

// client returns where packet i came from.
func (b *batch) client(i int) sock.Addr {
	sa := &b.slot[i].client
	var a sock.Addr
	if sa.Family == unix.AF_INET {
		sa4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(sa))
		a.IP[10], a.IP[11] = 0xFF, 0xFF
		copy(a.IP[12:], sa4.Addr[:])
	} else {
		a.IP = sa.Addr
	}
	a.Port = binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&sa.Port))[:]) // at the same place in both
	return a
}

// destination returns where packet i was sent to.
func (b *batch) destination(i int) (sock.Addr, bool) {
	h := &b.in[i].hdr
	return sock.OriginalDst(b.slot[i].control[:min(int(h.Controllen), len(b.slot[i].control))])
}

// queue queues the response to packet i, of n bytes, to be sent from an address.
func (b *batch) queue(i, n int, from *sock.Addr) {
	s, h := &b.slot[i], &b.out[b.n].hdr
	b.n++
	s.reply.SetLen(n)
	h.Name, h.Namelen = b.in[i].hdr.Name, b.in[i].hdr.Namelen
	h.Iov = &s.reply
	h.SetIovlen(1)
	if from.Is4() {
		s.from4.info.Spec_dst = [4]byte(from.IP[12:])
		h.Control = (*byte)(unsafe.Pointer(&s.from4))
		h.SetControllen(int(unsafe.Sizeof(s.from4)))
		return
	}
	s.from6.info.Addr = from.IP
	h.Control = (*byte)(unsafe.Pointer(&s.from6))
	h.SetControllen(int(unsafe.Sizeof(s.from6)))
}

// send sends what is queued and returns how many responses could not be, with the last reason. sendmmsg(2) stops
// before a packet that cannot be sent and says why at the next call.
func (b *batch) send() (failed int, err error) {
	for sent := 0; sent < b.n; {
		n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(b.fd), uintptr(unsafe.Pointer(&b.out[sent])),
			uintptr(b.n-sent), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			sent += int(n)
		case unix.EINTR:
		default:
			failed, err = failed+1, errno
			sent++
		}
	}
	b.n = 0
	return failed, err
}
