package bench

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// udpEcho is a closed loop of datagrams that are echoed: as many as udpWindow are under way at a time, in slots. Frames
// go past the client's own network stack (packet(7)), which could not have so many addresses and would cost more than
// a fast proxy.
type udpEcho struct {
	bed    *proxyBed
	family *proxyFamily
	port   uint16
	flows  *flowSequence
	passes int // go on until each flow has been used so often
	tally

	fd         int
	frames     *udpFrames
	slots      [udpWindow]udpSlot
	free       []int
	generation uint64
	out, in    *messages
}

// udpWindow is enough to keep a proxy busy, and few enough for every proxy's receive buffer.
const udpWindow = 64

// udpSlot is a datagram under way. The low bits of its number are those of the slot.
type udpSlot struct {
	number uint64
	flow   int
	busy   bool
}

// flowSequence tells which flow the next datagram belongs to: count of them in turn, in a scattered order.
type flowSequence struct {
	first, count, next int
	passes             int // how often each has been used
}

// scatter is prime to the counts that are used.
const scatter = 61_803

func (s *flowSequence) take() int {
	flow := s.first + s.next*scatter%s.count
	if s.next++; s.next == s.count {
		s.next = 0
		s.passes++
	}
	return flow
}

// udpPatience is how long nothing may come before all that is under way counts as lost.
const udpPatience = 200 * time.Millisecond

func (l *udpEcho) count() *tally { return &l.tally }

// open opens the packet socket and has a first window answered.
func (l *udpEcho) open() error {
	own, ifindex, err := hardwareAddr(l.bed.Client, "proxy0")
	if err != nil {
		return err
	}
	next, _, err := hardwareAddr(l.bed.Proxy, "client0")
	if err != nil {
		return err
	}
	l.frames = newUDPFrames(own, next, l.family, l.port)
	l.out, l.in = newMessages(udpWindow, l.frames.length()), newMessages(udpWindow, 2048)
	for i := range l.out.msgs {
		copy(l.out.data[i], l.frames.template)
		l.out.msgs[i].hdr.Name = nil
		l.out.iovs[i].SetLen(l.frames.length())
	}
	for i := range l.in.msgs {
		l.in.msgs[i].hdr.Name = nil
	}
	protocol := uint16(unix.ETH_P_IP)
	if !l.family.dialled.Is4() {
		protocol = unix.ETH_P_IPV6
	}
	if l.fd, err = openPackets(ifindex, protocol); err != nil {
		return err
	}
	l.reset()
	return nil
}

// openPackets opens a socket that sends to a link and receives one protocol from it.
func openPackets(ifindex int, protocol uint16) (int, error) {
	order := protocol<<8 | protocol>>8
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open packet socket: %w", err)
	}
	wait := unix.NsecToTimeval(int64(udpPatience))
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, udpBuffer),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait),
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1),
		unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: ifindex, Protocol: order}))
	if err != nil {
		return -1, errors.Join(fmt.Errorf("prepare packet socket: %w", err), unix.Close(fd))
	}
	return fd, nil
}

func (l *udpEcho) close() error {
	if l.fd == 0 {
		return nil
	}
	return unix.Close(l.fd)
}

// reset gives all slots up; what still comes for them is late.
func (l *udpEcho) reset() {
	l.free = l.free[:0]
	for i := range l.slots {
		l.slots[i].busy = false
		l.free = append(l.free, i)
	}
}

func (l *udpEcho) run(end time.Time) error {
	for {
		if time.Now().Before(end) || l.flows.passes < l.passes {
			if err := l.ask(); err != nil {
				return err
			}
		} else if len(l.free) == udpWindow {
			return nil
		}
		n, err := l.in.receive(l.fd)
		if err != nil {
			return err
		}
		if n == 0 {
			l.lost += udpWindow - len(l.free)
			l.reset()
		}
		for i := range n {
			l.take(l.in.data[i][:l.in.msgs[i].len])
		}
	}
}

// ask sends a datagram for every free slot.
func (l *udpEcho) ask() error {
	for i, slot := range l.free {
		s := &l.slots[slot]
		l.generation++
		*s = udpSlot{number: l.generation*udpWindow + uint64(slot), flow: l.flows.take(), busy: true}
		l.frames.write(l.out.data[i], s.flow, s.number)
	}
	n := len(l.free)
	l.free = l.free[:0]
	return l.out.send(l.fd, n)
}

// take checks an answer and frees its slot. Frames that are none are not ours, such as neighbour discovery.
func (l *udpEcho) take(frame []byte) {
	number, ok := l.frames.number(frame)
	slot := int(number % udpWindow)
	if s := &l.slots[slot]; ok && s.busy && s.number == number {
		s.busy = false
		l.free = append(l.free, slot)
		if l.frames.to(frame, s.flow) {
			l.done++
		} else {
			l.errors++
		}
	}
}

// readyUDP reports whether the upstream answers on every family and port.
func (b *proxyBed) readyUDP() error {
	var errs []error
	for i := range proxyFamilies {
		for _, port := range []uint16{udpEchoPort, udpOncePort} {
			l := &udpEcho{bed: b, family: &proxyFamilies[i], port: port, flows: &flowSequence{first: readyFlow, count: 1}}
			err := b.Client.Do(func() error {
				if err := l.open(); err != nil {
					return err
				}
				return l.run(time.Now().Add(time.Millisecond))
			})
			if errs = append(errs, err, l.close()); l.done == 0 && err == nil {
				errs = append(errs, fmt.Errorf("port %d does not answer", port))
			}
		}
	}
	return errors.Join(slices.DeleteFunc(errs, func(err error) bool { return err == nil })...)
}

// readyFlow is the flow that readyUDP uses, which no work does; onceFlow is the first of those that are used once.
const (
	readyFlow = 1 << 19
	onceFlow  = 1 << 20
)
