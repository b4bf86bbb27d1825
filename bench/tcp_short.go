package bench

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// tcpShort makes connections, some at a time: connect, a request, its answer, the end. The upstream closes first, so
// that it, and the proxy towards the client, keep TIME_WAIT, and neither runs out of source ports.
type tcpShort struct {
	to    netip.AddrPort
	width int // connections at a time
	tally

	poller   poller
	conns    []tcpRequest
	request  [requestSize]byte
	buf      [4 << 10]byte
	number   uint64
	underWay int
}

func (l *tcpShort) count() *tally { return &l.tally }

func (l *tcpShort) open() (err error) {
	l.conns = make([]tcpRequest, l.width)
	l.poller, err = newPoller()
	return err
}

func (l *tcpShort) close() error {
	err := l.poller.close()
	for _, c := range l.conns {
		if c.number != 0 {
			err = errors.Join(err, reset(c.fd))
		}
	}
	return err
}

func (l *tcpShort) run(end time.Time) error {
	for i := range l.conns {
		if err := l.connect(i); err != nil {
			return err
		}
	}
	for l.underWay > 0 {
		events, err := l.poller.wait(patience)
		if err != nil {
			return err
		}
		if len(events) == 0 {
			l.lost += l.underWay
			return nil
		}
		going := time.Now().Before(end)
		for _, e := range events {
			if l.step(&l.conns[e.Pad], e.Events) || !going {
				continue
			}
			if err := l.connect(int(e.Pad)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *tcpShort) connect(index int) error {
	fd, err := dial(l.to)
	if err != nil {
		return err
	}
	l.number++
	l.underWay++
	l.conns[index] = tcpRequest{fd: fd, number: l.number}
	return l.poller.add(fd, index, unix.EPOLLOUT|unix.EPOLLIN|unix.EPOLLET)
}

// step does what is due on a connection and reports whether it is still under way.
func (l *tcpShort) step(c *tcpRequest, events uint32) bool {
	if c.got == 0 && events&(unix.EPOLLIN|unix.EPOLLHUP|unix.EPOLLERR) == 0 {
		binary.BigEndian.PutUint64(l.request[:], c.number)
		n, errno := rawWrite(c.fd, l.request[:])
		return errno == 0 && n == requestSize || l.end(c, false)
	}
	for {
		n, errno := rawRead(c.fd, l.buf[:])
		if errno == unix.EAGAIN {
			return true
		}
		if errno != 0 || n == 0 {
			return l.end(c, errno == 0 && c.got == requestSize)
		}
		if c.got == 0 && n >= 8 && binary.BigEndian.Uint64(l.buf[:]) != c.number {
			return l.end(c, false)
		}
		c.got += n
	}
}

// end closes a connection and counts it. It returns false: nothing is under way on it.
func (l *tcpShort) end(c *tcpRequest, right bool) bool {
	l.underWay--
	if right {
		l.done++
	} else {
		l.errors++
	}
	_ = unix.Close(c.fd)
	c.number = 0
	return false
}
