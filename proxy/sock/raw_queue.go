package sock

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"
)

// rawQueue is the datagrams that one sendmmsg(2) will send through a raw socket.
type rawQueue struct {
	fd      int
	headers []mmsghdr
	slots   []rawSlot
	n       int // queued
}

// rawSlot is what a queued datagram needs besides its content.
type rawSlot struct {
	udp    [udpHeader]byte // of a fragment: its header, which is as long
	iovecs [3]unix.Iovec   // udp, head, payload
	name   sockaddr
	info4  pktinfo4
	info6  pktinfo6
}

// pktinfo4 and pktinfo6 are control messages that choose the source address (ip(7), ipv6(7)).
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

func newRawQueue(fd, n int) *rawQueue {
	q := &rawQueue{fd: fd, headers: make([]mmsghdr, n), slots: make([]rawSlot, n)}
	for i := range q.slots {
		s, h := &q.slots[i], &q.headers[i].hdr
		s.info4.hdr = unix.Cmsghdr{Level: unix.SOL_IP, Type: unix.IP_PKTINFO}
		s.info4.hdr.SetLen(unix.CmsgLen(unix.SizeofInet4Pktinfo))
		s.info6.hdr = unix.Cmsghdr{Level: unix.SOL_IPV6, Type: unix.IPV6_PKTINFO}
		s.info6.hdr.SetLen(unix.CmsgLen(unix.SizeofInet6Pktinfo))
		s.iovecs[0].Base = &s.udp[0]
		s.iovecs[0].SetLen(udpHeader)
		h.Name = (*byte)(unsafe.Pointer(&s.name))
		h.Iov = &s.iovecs[0]
		h.SetIovlen(len(s.iovecs))
	}
	return q
}

func (q *rawQueue) full() bool { return q.n == len(q.slots) }

func (q *rawQueue) push(src, dst *Addr, head, payload []byte) {
	s, h := &q.slots[q.n], &q.headers[q.n].hdr
	q.n++
	from, _ := src.wire()
	to, _ := dst.wire()
	binary.BigEndian.PutUint16(s.udp[0:], src.Port)
	binary.BigEndian.PutUint16(s.udp[2:], dst.Port)
	binary.BigEndian.PutUint16(s.udp[4:], uint16(udpHeader+len(head)+len(payload)))
	binary.BigEndian.PutUint16(s.udp[6:], 0)
	binary.BigEndian.PutUint16(s.udp[6:], udpChecksum(&from, &to, &s.udp, head, payload))
	s.address(h, &from, dst)
	setIovec(&s.iovecs[1], head)
	setIovec(&s.iovecs[2], payload)
}

// address fills in the destination's address and the source's control message.
func (s *rawSlot) address(h *unix.Msghdr, src *[16]byte, dst *Addr) {
	host := Addr{IP: dst.IP} // to a raw socket a port is a protocol number (raw(7))
	h.Namelen = host.encode(&s.name)
	if host.Is4() {
		s.info4.info.Spec_dst = [4]byte(src[12:])
		h.Control = (*byte)(unsafe.Pointer(&s.info4))
		h.SetControllen(int(unsafe.Sizeof(s.info4)))
		return
	}
	s.info6.info.Addr = *src
	h.Control = (*byte)(unsafe.Pointer(&s.info6))
	h.SetControllen(int(unsafe.Sizeof(s.info6)))
}

// pushFragment queues a part of a datagram, head and payload, behind its fragment header.
func (q *rawQueue) pushFragment(fragment [fragmentHeader]byte, from *[16]byte, dst *Addr, head, payload []byte) {
	s, h := &q.slots[q.n], &q.headers[q.n].hdr
	q.n++
	s.udp = fragment
	s.address(h, from, dst)
	setIovec(&s.iovecs[1], head)
	setIovec(&s.iovecs[2], payload)
}

func setIovec(v *unix.Iovec, b []byte) {
	v.Base = unsafe.SliceData(b)
	v.SetLen(len(b))
}

// flush sends the queue. sendmmsg(2) stops before a datagram that cannot be sent and says why at the next call.
func (q *rawQueue) flush(failed func(error)) { q.flushFrom(0, failed) }

// flushFrom is flush for a queue of which some have been sent.
func (q *rawQueue) flushFrom(sent int, failed func(error)) {
	for sent < q.n {
		n, errno := q.send(sent)
		switch errno {
		case 0:
			sent += n
		case unix.EINTR:
		default:
			failed(errno)
			sent++
		}
	}
	q.n = 0
}

// send sends the queue from its first-th datagram on, and returns how many went.
func (q *rawQueue) send(first int) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(q.fd), uintptr(unsafe.Pointer(&q.headers[first])),
		uintptr(q.n-first), unix.MSG_DONTWAIT, 0, 0)
	return int(n), errno
}
