package tcp

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"anyport/proxy/sock"
)

// door is a worker's view of the listener: open while it is in the epoll set, shut for a while when accepting fails and
// nothing can be done about it. The queue then waits in the kernel and the loop does not spin. A worker whose door is
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

// open puts the listener into w's epoll set, shared with the other workers' sets: each arrival wakes one of them.
func (d *door) open(w *worker) syscall.Errno {
	if errno := d.reserve.take(); errno != 0 {
		return errno
	}
	errno := w.epoll.Add(w.listener, sock.NewEvent(unix.EPOLLIN|unix.EPOLLEXCLUSIVE, listenerKey))
	d.shut = errno != 0
	return errno
}

// failed says in the log that accepting fails, now and then.
func (d *door) failed(w *worker, cause syscall.Errno) {
	if w.clock.now >= d.quietTill {
		d.quietTill = w.clock.now + int64(complainEvery)
		w.log.Warn("cannot accept connections", "error", cause)
	}
}

// close takes the listener out for 5 ms, for twice as long after each further failure, and for 1 s at most. Whoever
// closes an open door has been told of an arrival that no other worker has been told of: it tells them.
func (d *door) close(w *worker) {
	d.backoff = min(max(2*d.backoff, leastBackoff), mostBackoff)
	d.reopenAt = w.clock.now + int64(d.backoff)
	if !d.shut {
		w.epoll.Remove(w.listener)
		d.shut = true
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
