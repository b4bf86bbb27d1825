package tcp

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"anyport/proxy/sock"
)

// door is a worker's view of the listener: open while it is in the epoll set, shut for a while when accepting fails for
// want of descriptors or memory. The queue then waits in the kernel and the loop does not spin.
type door struct {
	shut      bool
	reopenAt  int64         // while shut, on the worker's clock
	backoff   time.Duration // of the last failure; 0 since an accept went well
	reserve   reserve
	lateAfter int64 // from when on arrivals are refused; 0: the engine does not drain
}

const (
	leastBackoff = 5 * time.Millisecond
	mostBackoff  = time.Second
)

// open puts the listener into w's epoll set, shared with the other workers' sets: each arrival wakes one of them.
func (d *door) open(w *worker) syscall.Errno {
	d.reserve.take()
	errno := w.epoll.Add(w.listener, sock.NewEvent(unix.EPOLLIN|unix.EPOLLEXCLUSIVE, listenerKey))
	d.shut = errno != 0
	return errno
}

// close takes the listener out for 5 ms, twice as long after each further failure, up to 1 s.
func (d *door) close(w *worker, cause syscall.Errno) {
	if d.backoff == 0 {
		w.log.Warn("cannot accept connections, trying again", "error", cause)
	}
	d.backoff = min(max(2*d.backoff, leastBackoff), mostBackoff)
	d.reopenAt = w.clock.now + int64(d.backoff)
	if !d.shut {
		w.epoll.Remove(w.listener)
		d.shut = true
	}
}

// reopen opens the door when its time has come.
func (d *door) reopen(w *worker) {
	if !d.shut || w.clock.now < d.reopenAt {
		return
	}
	if errno := d.open(w); errno != 0 {
		d.close(w, errno)
	}
}

// accepted notes that accepting works.
func (d *door) accepted(w *worker) {
	if d.backoff != 0 {
		d.backoff = 0
		w.log.Info("accepting connections again")
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
