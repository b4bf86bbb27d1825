package tcp

import (
	"syscall"

	"golang.org/x/sys/unix"

	"anyport/proxy/sock"
	"anyport/proxy/stats"
)

// A socket that has failed still holds what arrived before, and its peer's RST means nothing for those bytes. So the
// direction that starts there goes on to its end, and the RST is passed on behind the last byte. The other direction
// is over at once. How long the other side may take is bounded by its progress.
const (
	// resetPoll is how often the progress is looked at, 67 ms: nothing tells when a send queue has become empty.
	resetPoll tick = 4
	// resetStalls is how many looks in a row may find none: 1 s.
	resetStalls = 15
)

// lost notes that side s's socket has failed. errno is 0 if only reading from it will tell why.
func (w *worker) lost(c *conn, s side, errno syscall.Errno) {
	switch c.failed {
	case failureOf(s.other()):
		w.end(c, c.lostReason()) // nobody is left to deliver to
	case failureOf(s):
		c.learn(errno)
	default:
		c.failed = failureOf(s)
		c.learn(errno)
		c.legs[s].flags |= readable | wary
		if s == client {
			sock.AckNow(int(c.legs[upstream].fd)) // or it might never know of the connection
		}
		w.cancel(c, s.other())
		w.followReset(c)
		w.again = append(w.again, c.key(s))
	}
}

// learn keeps the first errno of the failed socket.
func (c *conn) learn(errno syscall.Errno) {
	if c.errno == 0 {
		c.errno = uint16(errno)
	}
}

// cancel ends the direction that starts at s, whose data has nowhere to go.
func (w *worker) cancel(c *conn, s side) {
	from := &c.legs[s]
	from.flags |= void
	w.pipes.put(from.pipe)
	from.pipe = 0
}

// lostSide is the side whose socket has failed.
func (c *conn) lostSide() side { return side(c.failed - 1) }

// passReset ends a connection whose failed side has nothing more to deliver, as soon as the kernel has sent it all: an
// abort throws away what is still queued.
func (w *worker) passReset(c *conn) {
	if sock.Unsent(int(c.legs[c.lostSide().other()].fd)) == 0 {
		w.end(c, c.lostReason())
	}
}

// followReset looks how far the failed side's data has come, and gives up when it gets no further.
func (w *worker) followReset(c *conn) {
	from, to := &c.legs[c.lostSide()], &c.legs[c.lostSide().other()]
	unsent := sock.Unsent(int(to.fd))
	gone := from.moved - uint64(unsent)
	if gone != c.resetMark {
		c.resetMark, c.stalls = gone, 0
	}
	c.stalls++
	if c.stalls > resetStalls || from.is(exhausted) && from.pipe == 0 && unsent == 0 {
		w.end(c, c.lostReason())
		return
	}
	c.deadline = w.clock.tick() + resetPoll
	w.timers.start(c, c.deadline)
}

// lostReason says why the failed side's socket failed.
func (c *conn) lostReason() stats.Reason {
	s := c.lostSide()
	c.learn(sock.TakeError(int(c.legs[s].fd)))
	switch syscall.Errno(c.errno) {
	case 0, unix.ECONNRESET, unix.EPIPE:
		return [...]stats.Reason{stats.ClientReset, stats.UpstreamReset}[s]
	case unix.ETIMEDOUT, unix.EHOSTUNREACH, unix.ENETUNREACH: // the last two where a router has said why
		return [...]stats.Reason{stats.ClientTimeout, stats.UpstreamTimeout}[s]
	default:
		return stats.IOError
	}
}
