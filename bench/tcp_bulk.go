package bench

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// tcpBulk sends to the sink of the upstream, or receives from its source, as fast as it goes. Its unit is the KiB.
type tcpBulk struct {
	to          netip.AddrPort
	connections int
	tally

	poller poller
	fds    []int
	sent   []uint64 // by connection, to the sink
	buf    []byte
	bytes  int
}

// bulkWarmUp is how long a transfer goes on before it counts: windows grow, and proxies begin to splice.
const bulkWarmUp = 30 * time.Millisecond

func (l *tcpBulk) up() bool { return l.to.Port() == sinkPort }

func (l *tcpBulk) count() *tally { return &l.tally }

func (l *tcpBulk) open() (err error) {
	if l.poller, err = newPoller(); err != nil {
		return err
	}
	l.buf, l.sent = make([]byte, chunkSize), make([]uint64, l.connections)
	events := uint32(unix.EPOLLIN)
	if l.up() {
		events = unix.EPOLLOUT
	}
	for i := range l.connections {
		fd, err := dial(l.to)
		if err != nil {
			return err
		}
		l.fds = append(l.fds, fd)
		if err := l.poller.add(fd, i, events); err != nil {
			return err
		}
	}
	return l.run(time.Now().Add(bulkWarmUp))
}

// run goes on past end until a unit is done.
func (l *tcpBulk) run(end time.Time) error {
	for l.bytes = 0; l.bytes < 1<<10 || time.Now().Before(end); {
		events, err := l.poller.wait(patience)
		if err != nil {
			return err
		}
		if len(events) == 0 {
			return errNoAnswer
		}
		for _, e := range events {
			if err := l.step(int(e.Pad)); err != nil {
				return err
			}
		}
	}
	l.done = l.bytes >> 10
	return nil
}

func (l *tcpBulk) step(index int) error {
	move := rawRead
	if l.up() {
		move = rawWrite
	}
	n, errno := move(l.fds[index], l.buf)
	switch {
	case errno == unix.EAGAIN:
		return nil
	case errno != 0:
		return fmt.Errorf("bulk connection: %w", errno)
	case n == 0:
		return errors.New("bulk connection: the upstream is gone")
	}
	l.bytes += n
	l.sent[index] += uint64(n)
	return nil
}

func (l *tcpBulk) close() error {
	err := l.poller.close()
	for i, fd := range l.fds {
		if l.up() {
			err = errors.Join(err, checkSink(fd, l.sent[i]))
		}
		err = errors.Join(err, reset(fd))
	}
	return err
}

// checkSink ends a connection to the sink, which has to have got what was sent.
func checkSink(fd int, sent uint64) error {
	if err := unix.Shutdown(fd, unix.SHUT_WR); err != nil {
		return fmt.Errorf("end a bulk connection: %w", err)
	}
	if err := waitFor(fd, unix.POLLIN); err != nil {
		return fmt.Errorf("wait for the sink: %w", err)
	}
	var got [8]byte
	if n, errno := rawRead(fd, got[:]); n != len(got) {
		return fmt.Errorf("the sink does not tell what it got: %d, %w", n, errno)
	}
	if n := binary.BigEndian.Uint64(got[:]); n != sent {
		return fmt.Errorf("of %d bytes, %d have come to the sink", sent, n)
	}
	return nil
}
