package sock

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// mmsghdr is struct mmsghdr of recvmmsg(2) and sendmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32 // bytes received or sent
}

// controlBytes holds one original destination of either family, a segment size and the size of fragments: nothing else
// is asked for.
const controlBytes = 96

// RecvBatch is the memory for datagrams that one system call reads. What its methods return is valid until the next
// Recv. It is for one goroutine at a time.
type RecvBatch struct {
	headers []mmsghdr
	iovecs  []unix.Iovec
	names   []sockaddr
	control []byte
	data    []byte
}

// MaxDatagram is the room for each datagram of a RecvBatch, more than UDP can carry: its length field, 65,535 with
// the header (RFC 768).
const MaxDatagram = 64 << 10

// NewRecvBatch returns a batch of n datagrams. Of its n times 64 KiB, memory is used as far as datagrams fill it.
func NewRecvBatch(n int) *RecvBatch {
	b := &RecvBatch{
		headers: make([]mmsghdr, n),
		iovecs:  make([]unix.Iovec, n),
		names:   make([]sockaddr, n),
		control: make([]byte, n*controlBytes),
		data:    make([]byte, n*MaxDatagram),
	}
	for i := range b.headers {
		b.iovecs[i].Base = &b.data[i*MaxDatagram]
		b.iovecs[i].SetLen(MaxDatagram)
		h := &b.headers[i].hdr
		h.Name = (*byte)(unsafe.Pointer(&b.names[i]))
		h.Control = &b.control[i*controlBytes]
		h.Iov = &b.iovecs[i]
		h.SetIovlen(1)
	}
	return b
}

// Recv reads what waits in s, up to the batch's size, without blocking. It returns how many datagrams there are, 0 if
// none waits.
func (b *RecvBatch) Recv(s *Socket) (int, error) {
	for i := range b.headers {
		h := &b.headers[i].hdr
		h.Namelen = unix.SizeofSockaddrInet6
		h.SetControllen(controlBytes)
	}
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&b.headers[0])),
		uintptr(len(b.headers)), unix.MSG_DONTWAIT, 0, 0)
	switch errno {
	case 0:
		return int(n), nil
	case unix.EAGAIN, unix.EINTR:
		return 0, nil
	}
	return 0, errno
}

// Train returns the content of datagram i, or of the datagrams that came as one in its place (see [JoinUDP]).
func (b *RecvBatch) Train(i int) Train {
	payload := b.data[i*MaxDatagram:][:min(b.headers[i].len, MaxDatagram)]
	return Train{Bytes: payload, Size: segmentSize(b.controlOf(i))}
}

// Source returns where datagram i came from.
func (b *RecvBatch) Source(i int) Addr {
	return decode(&b.names[i])
}

// OriginalDst returns where datagram i was sent to, and false if the kernel did not say.
func (b *RecvBatch) OriginalDst(i int) (Addr, bool) {
	return OriginalDst(b.controlOf(i))
}

func (b *RecvBatch) controlOf(i int) []byte {
	return b.control[i*controlBytes:][:min(int(b.headers[i].hdr.Controllen), controlBytes)]
}

// Truncated reports whether datagram i lost its end for want of room.
func (b *RecvBatch) Truncated(i int) bool {
	return b.headers[i].hdr.Flags&unix.MSG_TRUNC != 0
}
