package tcp

import (
	"golang.org/x/sys/unix"

	"anyport/proxy/stats"
)

// expire is called when a connection's timer fires. Nothing sets the timer anew while data moves, so it may be early.
func (w *worker) expire(c *conn) {
	switch {
	case c.state == relaying && c.failed == nobody:
		w.lookAfter(c)
	case w.clock.tick().before(c.deadline):
		w.timers.start(c, c.deadline)
	case c.state == greeting:
		w.end(c, stats.ProxyHeaderTimeout)
	case c.state == connecting:
		w.retry(c, unix.ETIMEDOUT)
	default:
		w.followReset(c)
	}
}

// lookAfter ends a connection that has been silent for too long, or writes a line about it if one is due.
func (w *worker) lookAfter(c *conn) {
	now := w.clock.tick()
	if limit, why := w.mostSilence(c); limit != 0 && !now.before(c.active+limit) {
		w.end(c, why)
		return
	}
	if w.progress != 0 && !now.before(c.nextLine) {
		w.logProgress(c)
		c.nextLine = now + w.progress
	}
	w.awaitSilence(c)
}

// awaitSilence sets the timer of a connection that relays for when it has to be looked after, if ever.
func (w *worker) awaitSilence(c *conn) {
	limit, _ := w.mostSilence(c)
	due := c.active + limit
	if w.progress != 0 && (limit == 0 || c.nextLine.before(due)) {
		due = c.nextLine
	} else if limit == 0 {
		w.timers.stop(c)
		return
	}
	w.timers.start(c, due)
}

// mostSilence returns for how long c may carry nothing, 0 for any time, and why it ends after that.
func (w *worker) mostSilence(c *conn) (limit tick, why stats.Reason) {
	ref := w.routes.at(c.route)
	half := c.legs[client].is(finSent) || c.legs[upstream].is(finSent)
	if half && ref.halfClose != 0 && (ref.idle == 0 || ref.halfClose < ref.idle) {
		return ref.halfClose, stats.HalfCloseTimeout
	}
	return ref.idle, stats.IdleTimeout
}
