package tcp

import (
	"syscall"

	"golang.org/x/sys/unix"

	"anyport/proxy/sock"
	"anyport/proxy/stats"
)

// copy reads once from side s and writes to the other. What that one does not take goes into a pipe. If there is no
// pipe to be had, the data is only peeked at, and what has been written is taken from the socket afterwards.
func (w *worker) copy(c *conn, s side) {
	from, to := &c.legs[s], &c.legs[s.other()]
	mode := 0
	if !w.pipes.ready(w.clock.tick()) {
		mode = unix.MSG_PEEK
	}
	n, errno := sock.Recv(int(from.fd), w.buf, mode)
	if n == 0 {
		w.nothingRead(c, s, errno)
		return
	}
	more := 0
	if mode == 0 && from.endsWith(n) {
		more = unix.MSG_MORE // a FIN, in the same packet
	}
	sent, errno := sock.Send(int(to.fd), w.buf[:n], more)
	if errno != 0 && errno != unix.EAGAIN {
		w.lost(c, s.other(), errno)
		return
	}
	w.credit(c, s, sent)
	if mode == unix.MSG_PEEK {
		w.taken(c, s, sent, n)
		return
	}
	from.hasRead(n)
	if sent < n {
		w.hold(c, s, w.buf[sent:n])
	}
}

// nothingRead notes why a read has brought nothing: there is nothing yet (EAGAIN), the peer has finished (0), or its
// socket has failed. The kernel reports a FIN before a RST that came after it, but once a write has taken the RST's
// error, a read says 0 too.
func (w *worker) nothingRead(c *conn, s side, errno syscall.Errno) {
	from := &c.legs[s]
	switch {
	case errno == unix.EAGAIN:
		from.flags &^= readable
		return
	case errno != 0:
		w.lost(c, s, errno)
	case c.failed != failureOf(s) || c.errno == 0:
		from.flags |= finSeen
	}
	from.flags |= exhausted
}

// taken removes what has been sent of n bytes that were peeked at. What was not sent is looked at again, until the
// other socket takes nothing at all and will tell when it does.
func (w *worker) taken(c *conn, s side, sent, n int) {
	from := &c.legs[s]
	if errno := sock.Discard(int(from.fd), sent); errno != 0 {
		w.lost(c, s, errno)
		return
	}
	switch sent {
	case n:
		from.hasRead(n)
	case 0:
		from.flags |= blocked
	}
}

// hasRead draws conclusions from a read of n bytes. One that left room in the buffer has emptied the socket: new data
// brings a new event, and if the peer's FIN is there, the end is reached.
func (l *leg) hasRead(n int) {
	if n == bufferBytes {
		l.full = min(l.full+1, spliceAfter)
		return
	}
	l.full = 0
	switch {
	case l.is(wary):
	case l.endsWith(n):
		l.flags |= exhausted
	default:
		l.flags &^= readable
	}
}

// endsWith reports whether a read of n bytes was surely the last one.
func (l *leg) endsWith(n int) bool { return n < bufferBytes && l.flags&(finSeen|wary) == finSeen }

// hold puts data that the side opposite s would not take into a pipe.
func (w *worker) hold(c *conn, s side, data []byte) {
	c.legs[s].pipe = w.pipes.get()
	p := w.pipes.at(c.legs[s].pipe)
	n, err := unix.Write(p.W, data)
	p.held = int32(max(n, 0))
	if n < len(data) { // the pipe was empty: only memory can be short
		c.errno = errnoOf(err)
		w.end(c, stats.IOError)
	}
}

func errnoOf(err error) uint16 {
	errno, ok := err.(syscall.Errno)
	if !ok {
		errno = unix.ENOMEM // a short write
	}
	return uint16(errno)
}
