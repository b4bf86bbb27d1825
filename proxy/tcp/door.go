package tcp

import (
	"syscall"
	"time"
)

// door is a worker's view of the listeners: open while they are in the epoll set, shut for a while when accepting fails
// and nothing can be done about it. Queues then wait in the kernel and the loop does not spin. A worker whose door is
// open has a descriptor in reserve: the kernel tells one worker of an arrival, which must be able to deal with it.
type door struct {
	shut      bool
	reopenAt  int64         // while shut, on the worker's clock
	backoff   time.Duration // the last one; 0 since an accept went well
	quietTill int64         // the log has been told that accepting fails
	reserve   reserve
	lateAfter int64 // from when on arrivals are refused; 0: the engine does not drain
}

const (
	leastBackoff = 5 * time.Millisecond
	mostBackoff  = time.Second
	// complainEvery keeps a proxy at its limit from filling the log; the counters tell the rest.
	complainEvery = 10 * time.Second
)

// open puts the listeners into w's epoll set: all or, if that fails, none.
func (d *door) open(w *worker) syscall.Errno {
	if errno := d.reserve.take(); errno != 0 {
		return errno
	}
	d.shut = false
	for _, l := range w.listeners {
		if errno := w.watchListener(l); errno != 0 {
			d.takeOut(w)
			return errno
		}
	}
	return 0
}

// takeOut takes the listeners out of w's epoll set.
func (d *door) takeOut(w *worker) {
	for _, l := range w.listeners {
		w.epoll.Remove(l.socket.FD())
	}
	d.shut = true
}

// failed says in the log that accepting fails, now and then.
func (d *door) failed(w *worker, cause syscall.Errno) {
	if w.clock.now >= d.quietTill {
		d.quietTill = w.clock.now + int64(complainEvery)
		w.log.Warn("cannot accept connections", "error", cause)
	}
}

// close takes the listeners out for 5 ms, for twice as long after each further failure, and for 1 s at most. Whoever
// closes an open door has been told of an arrival that no other worker has been told of: it tells them.
func (d *door) close(w *worker) {
	d.backoff = min(max(2*d.backoff, leastBackoff), mostBackoff)
	d.reopenAt = w.clock.now + int64(d.backoff)
	if !d.shut {
		d.takeOut(w)
		w.nudgeOthers()
	}
}

// reopen opens the door when its time has come.
func (d *door) reopen(w *worker) {
	if !d.shut || w.clock.now < d.reopenAt {
		return
	}
	if errno := d.open(w); errno != 0 {
		d.failed(w, errno)
		d.close(w)
	}
}

// patience returns the milliseconds until reopen has something to do, or -1.
func (d *door) patience(c *clock) int {
	if !d.shut {
		return -1
	}
	return c.until(d.reopenAt)
}

// drain begins to count the time after which arrivals are late.
func (d *door) drain(c *clock) {
	if d.lateAfter == 0 {
		d.lateAfter = c.now + int64(drainGrace)
	}
}

// late reports whether a connection that arrives now is to be refused.
func (d *door) late(c *clock) bool { return d.lateAfter != 0 && c.now >= d.lateAfter }
