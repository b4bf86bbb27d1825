package offload

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"anyport/bpf"
	"anyport/proxy/sock"
)

// TrainSender sends trains for one worker. It is for one goroutine at a time.
type TrainSender struct {
	transmit *Transmit
	v4, v6   *trainSocket // v6 is nil where lo has no IPv6
	egress   egressCache
}

// trainSocket is a UDP socket that is connected to itself, and the train that it sends next.
type trainSocket struct {
	fd     int
	train  *bpf.TransmitTrain // shared with the program
	header unix.Msghdr
	iovec  unix.Iovec
	size   segmentSize
}

// segmentSize is the control message that cuts a payload (udp(7), UDP_SEGMENT).
type segmentSize struct {
	hdr  unix.Cmsghdr
	size uint16
	_    [6]byte
}

// Bounds of one train: UDP_MAX_SEGMENTS of Linux before 6.9, and what fits into an IPv4 packet with its headers.
const (
	maxSegments   = 64
	maxTrainBytes = 1<<16 - 1 - 20 - 8
)

// Send sends the first datagrams of a train from src to dst, which are of one family, and returns how many: all, unless
// the way to dst does not allow it. The caller sends the others one by one. now is any clock that does not go back.
func (s *TrainSender) Send(src, dst *sock.Addr, train sock.Train, now time.Duration) (sent int) {
	if !s.transmit.inUse() {
		return 0
	}
	socket := s.v4
	if !dst.Is4() {
		socket = s.v6
	}
	if socket == nil {
		return 0
	}
	e := s.egress.find(src, dst, now)
	if e.device == 0 || e.limit > 0 && train.Size > e.limit {
		return 0
	}
	whole := min(maxSegments, maxTrainBytes/train.Size)
	for rest := train.Bytes; len(rest) > 0; {
		part := rest[:min(len(rest), whole*train.Size)]
		if !s.sendOne(socket, e, part, train.Size) {
			break
		}
		sent += sock.Train{Bytes: part, Size: train.Size}.Count()
		rest = rest[len(part):]
	}
	return sent
}

// sendOne sends one train and reports whether it has left.
func (s *TrainSender) sendOne(socket *trainSocket, e *egress, part []byte, size int) bool {
	socket.load(e)
	if errno := socket.send(part, size); errno != 0 {
		return false
	}
	switch outcome := socket.unload(); outcome {
	case bpf.TransmitTrainOutcomeTRAIN_SENT:
		return true
	case bpf.TransmitTrainOutcomeTRAIN_TOO_BIG:
		e.limit = size - 1
	case bpf.TransmitTrainOutcomeTRAIN_WAITING:
		s.transmit.suspend(notRun)
	default:
		e.device = 0
	}
	return false
}

// load writes the train's addresses for the program.
func (t *trainSocket) load(e *egress) {
	train := t.train
	train.Src, train.Dst = e.src.Wire(), e.dst.Wire()
	train.SrcPort, train.DstPort = e.src.WirePort(), e.dst.WirePort()
	train.Device = e.device
	atomic.StoreUint32((*uint32)(&train.Outcome), uint32(bpf.TransmitTrainOutcomeTRAIN_WAITING))
}

// unload returns what the program has made of the train, and takes it back if that is nothing.
func (t *trainSocket) unload() bpf.TransmitTrainOutcome {
	return bpf.TransmitTrainOutcome(atomic.SwapUint32((*uint32)(&t.train.Outcome), uint32(bpf.TransmitTrainOutcomeTRAIN_NONE)))
}

// send gives the kernel a payload to cut.
func (t *trainSocket) send(part []byte, size int) unix.Errno {
	t.size.size = uint16(size)
	t.iovec.Base = unsafe.SliceData(part)
	t.iovec.SetLen(len(part))
	for {
		_, _, errno := unix.RawSyscall(unix.SYS_SENDMSG, uintptr(t.fd), uintptr(unsafe.Pointer(&t.header)), unix.MSG_DONTWAIT)
		if errno != unix.EINTR {
			return errno
		}
	}
}

// openTrainSocket opens a socket of a family, bound and connected to a port of the loopback address.
func openTrainSocket(family int, home unix.Sockaddr, train *bpf.TransmitTrain) (*trainSocket, error) {
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_UDP)
	if err != nil {
		return nil, err
	}
	if err := connectToSelf(fd, home); err != nil {
		unix.Close(fd)
		return nil, err
	}
	t := &trainSocket{fd: fd, train: train}
	t.size.hdr = unix.Cmsghdr{Level: unix.SOL_UDP, Type: unix.UDP_SEGMENT}
	t.size.hdr.SetLen(unix.CmsgLen(2))
	t.header.Iov = &t.iovec
	t.header.SetIovlen(1)
	t.header.Control = (*byte)(unsafe.Pointer(&t.size))
	t.header.SetControllen(int(unsafe.Sizeof(t.size)))
	return t, nil
}

// connectToSelf leaves nobody else to receive what the program does not take: even then the datagrams end at a filter.
func connectToSelf(fd int, home unix.Sockaddr) error {
	if err := unix.Bind(fd, home); err != nil {
		return err
	}
	self, err := unix.Getsockname(fd)
	if err != nil {
		return err
	}
	// Don't Fragment stays clear, as with RawUDP. On an AF_INET6 socket this is about IPv4 and does nothing.
	return errors.Join(unix.Connect(fd, self), sock.DropAll(fd),
		unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DONT),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, trainBuffer))
}

// trainBuffer is how many bytes of trains may wait in a device's queue, some fifty trains.
const trainBuffer = 4 << 20

// close closes a socket; nil is none.
func (t *trainSocket) close() error {
	if t == nil {
		return nil
	}
	if err := unix.Close(t.fd); err != nil {
		return fmt.Errorf("close socket: %w", err)
	}
	return nil
}

func (s *TrainSender) close() error {
	return errors.Join(s.v4.close(), s.v6.close(), s.egress.query.close())
}
