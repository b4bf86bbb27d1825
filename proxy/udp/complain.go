package udp

import (
	"time"

	"anyport/proxy/stats"
)

// complaint limits the log lines about failing system calls to one a second: they may fail for every datagram.
type complaint struct {
	last  time.Duration // when one was written, since the engine was made; 0: never
	quiet int           // how many were left out since
}

// sendFailed counts a datagram that could not be sent. What stays unsent is lost, as anywhere on the way.
func (w *worker) sendFailed(err error) {
	w.drop(stats.DropSend)
	w.complain("send datagram", err)
}

// complain logs an error that the worker can live with.
func (w *worker) complain(what string, err error) {
	c := &w.complaint
	if c.last != 0 && w.sinceStart-c.last < time.Second {
		c.quiet++
		return
	}
	w.logger.Warn(what, "error", err, "left_out", c.quiet)
	*c = complaint{last: max(w.sinceStart, 1)}
}
