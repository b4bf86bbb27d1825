package tcp

import (
	"golang.org/x/sys/unix"

	"anyport/proxy/sock"
)

const (
	// spliceAfter is how many reads in a row must have filled the buffer before a direction splices. Splicing costs two
	// calls and the handling of pages; it pays from about 16 KiB on.
	spliceAfter = 2
	// spliceLeast is how much must come at once for a direction to stay with it.
	spliceLeast = 16 << 10
	// spliceMost is asked for at once: what a pipe holds at best.
	spliceMost = 1 << 20
)

// splice moves data from side s's socket into a pipe, for flush to send on. It returns false if it cannot tell what the
// socket's state is: at the end of the stream, and also in front of urgent data, there is nothing to splice.
func (w *worker) splice(c *conn, s side) bool {
	from := &c.legs[s]
	number := w.pipes.get()
	p := w.pipes.at(number)
	n, errno := sock.Splice(int(from.fd), p.W, spliceMost)
	if n == 0 {
		w.pipes.put(number)
		if errno != 0 {
			w.nothingRead(c, s, errno)
		}
		return errno != 0
	}
	from.pipe, p.held = number, int32(n)
	if n < spliceLeast {
		from.full--
	}
	return true
}

// flush sends what the pipe of the direction from s holds, and gives the pipe back once it is empty. It tries again
// until the socket takes nothing at all: only then does the kernel report when there is room.
func (w *worker) flush(c *conn, s side) bool {
	from, to := &c.legs[s], &c.legs[s.other()]
	p := w.pipes.at(from.pipe)
	for p.held > 0 {
		n, errno := sock.Splice(p.R, int(to.fd), int(p.held))
		switch {
		case errno == unix.EAGAIN:
			from.flags |= blocked
			return false
		case n == 0:
			w.lost(c, s.other(), errno)
			return false
		}
		p.held -= int32(n)
		w.credit(c, s, n)
	}
	w.pipes.put(from.pipe)
	from.pipe = 0
	return true
}
