package tcp

import (
	"golang.org/x/sys/unix"

	"anyport/proxy/stats"
)

// expire is called when a connection's timer fires. Nothing sets the timer anew while data moves, so it may be early.
func (w *worker) expire(c *conn) {
	due, why := c.deadline, stats.Reason(0)
	if w.idles(c) {
		due, why = w.silenceEnds(c)
	}
	switch {
	case w.clock.tick().before(due):
		w.timers.start(c, due)
	case w.idles(c):
		w.end(c, why)
	case c.state == greeting:
		w.end(c, stats.ProxyHeaderTimeout)
	case c.state == connecting:
		w.retry(c, unix.ETIMEDOUT)
	default:
		w.followReset(c)
	}
}

// idles reports whether c's timer is the one for silence.
func (*worker) idles(c *conn) bool { return c.state == relaying && c.failed == nobody }

// awaitSilence sets c's timer for the end of the longest silence that it may keep, if there is one.
func (w *worker) awaitSilence(c *conn) {
	if due, _ := w.silenceEnds(c); due != c.active && w.idles(c) {
		w.timers.start(c, due)
	}
}

// silenceEnds returns when c ends if nothing moves until then, and why it will. That is when bytes last moved if it
// never does.
func (w *worker) silenceEnds(c *conn) (due tick, why stats.Reason) {
	ref := w.routes.at(c.route)
	half := c.legs[client].is(finSent) || c.legs[upstream].is(finSent)
	if half && ref.halfClose != 0 && (ref.idle == 0 || ref.halfClose < ref.idle) {
		return c.active + ref.halfClose, stats.HalfCloseTimeout
	}
	return c.active + ref.idle, stats.IdleTimeout
}
