package tcp

import (
	"golang.org/x/sys/unix"

	"anyport/proxy/stats"
)

// expire is called when a connection's timer fires. Nothing sets the timer anew while data moves, so it may be early.
func (w *worker) expire(c *conn) {
	due := c.deadline
	if w.idles(c) {
		due = c.active + w.routes.at(c.route).idle
	}
	switch {
	case w.clock.tick().before(due):
		w.timers.start(c, due)
	case w.idles(c):
		w.end(c, stats.IdleTimeout)
	case c.state == connecting:
		w.retry(c, unix.ETIMEDOUT)
	default:
		w.followReset(c)
	}
}

// idles reports whether c's timer is its idle timeout.
func (*worker) idles(c *conn) bool { return c.state == relaying && c.failed == nobody }
