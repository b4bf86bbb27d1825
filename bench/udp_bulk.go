package bench

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// udpBulk sends trains of datagrams, each by one system call (UDP_SEGMENT, udp(7)), on several sockets. A socket's next
// train leaves when the last one is acknowledged, which keeps the queues of every proxy short: what is measured is the
// speed at which nothing gets lost. Its unit is the datagram.
type udpBulk struct {
	to netip.AddrPort
	tally

	poller poller
	trains []udpTrain
	data   [trainBytes]byte
	number uint64
}

// udpTrain is a socket with its train under way.
type udpTrain struct {
	fd     int
	number uint64
	sent   time.Time
}

const (
	segmentSize = 1400
	trainLength = 32
	trainBytes  = segmentSize * trainLength
	trainCount  = 4 // sockets; four trains fit into a receive buffer of the usual size
)

func (l *udpBulk) count() *tally { return &l.tally }

func (l *udpBulk) open() (err error) {
	if l.poller, err = newPoller(); err != nil {
		return err
	}
	for i := range trainCount {
		fd, err := dialSegments(l.to)
		if err != nil {
			return err
		}
		l.trains = append(l.trains, udpTrain{fd: fd})
		if err := l.poller.add(fd, i, unix.EPOLLIN); err != nil {
			return err
		}
	}
	return nil
}

func dialSegments(to netip.AddrPort) (int, error) {
	domain := unix.AF_INET6
	if to.Addr().Is4() {
		domain = unix.AF_INET
	}
	fd, err := unix.Socket(domain, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open socket: %w", err)
	}
	err = errors.Join(unix.SetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_SEGMENT, segmentSize), unix.Connect(fd, sockaddr(to)))
	if err != nil {
		return -1, errors.Join(fmt.Errorf("connect to %s: %w", to, err), unix.Close(fd))
	}
	return fd, nil
}

func (l *udpBulk) close() error {
	err := l.poller.close()
	for _, t := range l.trains {
		err = errors.Join(err, unix.Close(t.fd))
	}
	return err
}

func (l *udpBulk) run(end time.Time) error {
	for i := range l.trains {
		l.send(&l.trains[i])
	}
	for {
		events, err := l.poller.wait(udpPatience / 4)
		if err != nil {
			return err
		}
		now := time.Now()
		for _, e := range events {
			if t := &l.trains[e.Pad]; l.acknowledged(t) && now.Before(end) {
				l.send(t)
			}
		}
		if len(events) == 0 {
			l.giveUp(now, now.Before(end))
		}
		if !now.Before(end) && l.idle() {
			return nil
		}
	}
}

// send sends the next train; every datagram begins with its number.
func (l *udpBulk) send(t *udpTrain) {
	l.number++
	t.number, t.sent = l.number, time.Now()
	for at := 0; at < trainBytes; at += segmentSize {
		binary.BigEndian.PutUint64(l.data[at:], t.number)
	}
	_, _ = rawWrite(t.fd, l.data[:]) // what was not sent is not acknowledged
}

// acknowledged takes what has come and reports whether it ends the train.
func (l *udpBulk) acknowledged(t *udpTrain) bool {
	var ack [2 * requestSize]byte
	n, errno := rawRead(t.fd, ack[:])
	if errno != 0 || n != requestSize || t.number == 0 || binary.BigEndian.Uint64(ack[:]) != t.number {
		return false
	}
	t.number = 0
	l.done += trainLength
	return true
}

// giveUp counts trains as lost that have had no acknowledgement for long, and sends on.
func (l *udpBulk) giveUp(now time.Time, goOn bool) {
	for i := range l.trains {
		t := &l.trains[i]
		if t.number == 0 || now.Sub(t.sent) < udpPatience {
			continue
		}
		l.lost += trainLength
		if t.number = 0; goOn {
			l.send(t)
		}
	}
}

func (l *udpBulk) idle() bool {
	for _, t := range l.trains {
		if t.number != 0 {
			return false
		}
	}
	return true
}
