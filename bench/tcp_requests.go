package bench

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// tcpRequests is a closed loop over connections that stay open: each sends its next request as soon as the last one is
// answered.
type tcpRequests struct {
	to          netip.AddrPort
	connections int
	answer      int // bytes of an answer
	tally

	poller   poller
	conns    []tcpRequest
	request  [requestSize]byte
	buf      []byte
	number   uint64
	underWay int
	answered func(index int) // if set, is told of each answer
}

// tcpRequest is a connection and the request under way on it.
type tcpRequest struct {
	fd     int
	number uint64
	got    int // bytes of its answer
}

func (l *tcpRequests) count() *tally { return &l.tally }

// open connects and has each connection answer once: by then every proxy has its way to the upstream.
func (l *tcpRequests) open() (err error) {
	if l.poller, err = newPoller(); err != nil {
		return err
	}
	l.buf = make([]byte, max(l.answer, 4<<10))
	for i := range l.connections {
		fd, err := dial(l.to)
		if err != nil {
			return err
		}
		l.conns = append(l.conns, tcpRequest{fd: fd})
		if err := l.poller.add(fd, i, unix.EPOLLOUT|unix.EPOLLIN|unix.EPOLLET); err != nil {
			return err
		}
	}
	return l.firstAnswers()
}

func (l *tcpRequests) firstAnswers() error {
	for asked, end := 0, time.Now().Add(patience); asked < l.connections || l.underWay > 0; {
		if time.Now().After(end) {
			return errNoAnswer
		}
		events, err := l.poller.wait(patience)
		if err != nil {
			return err
		}
		for _, e := range events {
			c := &l.conns[e.Pad]
			if c.number == 0 && e.Events&unix.EPOLLOUT != 0 {
				asked++
				l.ask(c)
			} else if c.number != 0 && e.Events&(unix.EPOLLIN|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
				l.read(int(e.Pad))
			}
		}
		if l.errors > 0 {
			return fmt.Errorf("%d of %d connections failed", l.errors, l.connections)
		}
	}
	l.tally = tally{}
	return nil
}

func (l *tcpRequests) close() error {
	err := l.poller.close()
	for _, c := range l.conns {
		err = errors.Join(err, reset(c.fd))
	}
	return err
}

func (l *tcpRequests) run(end time.Time) error {
	for i := range l.conns {
		l.ask(&l.conns[i])
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
			if e.Events&(unix.EPOLLIN|unix.EPOLLHUP|unix.EPOLLERR) != 0 && l.read(int(e.Pad)) && going {
				l.ask(&l.conns[e.Pad])
			}
		}
	}
	return nil
}

// ask sends the next request on a connection.
func (l *tcpRequests) ask(c *tcpRequest) {
	l.number++
	c.number, c.got = l.number, 0
	binary.BigEndian.PutUint64(l.request[:], c.number)
	if n, errno := rawWrite(c.fd, l.request[:]); errno != 0 || n != requestSize {
		l.errors++ // and the connection does nothing more
		return
	}
	l.underWay++
}

// read takes what has come on a connection and reports whether its request is answered.
func (l *tcpRequests) read(index int) bool {
	c := &l.conns[index]
	for {
		n, errno := rawRead(c.fd, l.buf)
		if errno == unix.EAGAIN {
			return false
		}
		if errno != 0 || n == 0 || !l.check(c, l.buf[:n]) {
			l.underWay--
			l.errors++
			return false
		}
		if c.got += n; c.got == l.answer {
			l.underWay--
			l.done++
			if l.answered != nil {
				l.answered(index)
			}
			return true
		}
	}
}

// check reports whether a part of an answer may be right: its length, and the number of its request at both ends.
func (l *tcpRequests) check(c *tcpRequest, part []byte) bool {
	const size = 8
	if c.got+len(part) > l.answer {
		return false
	}
	if c.got == 0 && len(part) >= size && binary.BigEndian.Uint64(part) != c.number {
		return false
	}
	last := c.got+len(part) == l.answer && l.answer > requestSize && len(part) >= size
	return !last || binary.BigEndian.Uint64(part[len(part)-size:]) == c.number
}
