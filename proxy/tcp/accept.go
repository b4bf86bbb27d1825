package tcp

import (
	"syscall"

	"golang.org/x/sys/unix"

	"anyport/conf/rule"
	"anyport/proxy/sock"
	"anyport/proxy/stats"
)

// acceptBatch is how many connections are accepted before other events have their turn.
const acceptBatch = 64

// accept takes connections from a listener's queue, and reports whether there may be more. What it leaves there is
// reported again.
func (w *worker) accept(l *listener) (more bool) {
	for range acceptBatch {
		fd, client, errno := sock.Accept(l.socket.FD())
		switch {
		case errno == 0:
			w.door.backoff = 0
			w.admit(fd, client)
		case errno == unix.EAGAIN:
			return false
		case lastsLonger(errno):
			w.door.failed(w, errno)
			if !w.turnAway(l) {
				w.door.close(w)
			}
			return false
		}
	}
	return true
}

// lastsLonger tells errors of the listener or the process from those of one connection, after which the next one may
// be accepted (accept(2), "Error handling").
func lastsLonger(errno syscall.Errno) bool {
	switch errno {
	case unix.EINTR, unix.ECONNABORTED, unix.EPERM, unix.EPROTO, unix.ENOPROTOOPT, unix.EOPNOTSUPP, unix.ENETDOWN,
		unix.ENETUNREACH, unix.EHOSTDOWN, unix.EHOSTUNREACH, unix.ENONET:
		return false
	}
	return true
}

// nudgeOthers has the other workers look into the listeners' queues.
func (w *worker) nudgeOthers() {
	for _, other := range w.engine.workers {
		if other != w {
			other.nudged.Store(true)
			other.wakeup.Signal()
		}
	}
}

// turnAway resets what waits in the queue, with the one descriptor that is left, and reports whether that worked: if
// not, or if another worker has taken the descriptor meanwhile, trying again at once would not either.
func (w *worker) turnAway(l *listener) bool {
	w.door.reserve.close()
	empty := w.refuseQueue(l)
	return w.door.reserve.take() == 0 && empty
}

// refuseQueue resets what waits in the queue, and reports whether it could accept all that it tried to.
func (w *worker) refuseQueue(l *listener) bool {
	for range acceptBatch {
		fd, client, errno := sock.Accept(l.socket.FD())
		if errno != 0 {
			return errno == unix.EAGAIN
		}
		w.engine.active.Add(1)
		w.load.Add(1)
		w.refuse(fd, client, stats.NoDescriptor)
	}
	return true
}

// admit decides whether a fresh connection is served, and by whom.
func (w *worker) admit(fd int, client sock.Addr) {
	active, most := w.engine.active.Add(1), w.engine.options.MaxConnections
	switch {
	case fd >= w.engine.bound:
		w.door.failed(w, unix.EMFILE)
		w.load.Add(1)
		w.refuse(fd, client, stats.NoDescriptor)
		return
	case most > 0 && active > int64(most):
		w.load.Add(1)
		w.refuse(fd, client, stats.Limit)
		return
	}
	if other := w.relief(); other != nil && other.give(fd, client) {
		return
	}
	w.load.Add(1)
	w.serve(fd, client)
}

// relief returns a worker that clearly has fewer connections than this one, or nil. It looks at one other worker, the
// next each time, so that many workers cost no more than two. The kernel alone would not spread them: it wakes the
// first worker that sleeps, so that one of two idle ones gets every long-lived connection.
func (w *worker) relief() *worker {
	all := w.engine.workers
	w.peer = (w.peer + 1) % len(all)
	if w.peer == w.id {
		w.peer = (w.peer + 1) % len(all)
	}
	other := all[w.peer]
	if theirs := other.load.Load(); w.load.Load() <= theirs+theirs/8 {
		return nil
	}
	return other
}

// give hands a connection to w, on another worker's thread.
func (w *worker) give(fd int, client sock.Addr) bool {
	taken, first := w.inbox.put(handover{fd: int32(fd), client: client})
	if !taken {
		return false
	}
	w.load.Add(1)
	if first {
		w.wakeup.Signal()
	}
	return true
}

// serve starts to connect a client to an upstream.
func (w *worker) serve(fd int, client sock.Addr) {
	c := w.open(fd, client)
	ref := w.routes.at(c.route)
	switch {
	case ref.route == nil:
		w.end(c, stats.NoRoute)
	case w.door.late(&w.clock):
		w.end(c, stats.Drained)
	case ref.route.TakesHeader(c.client.AddrPort().Addr()):
		w.expectHeader(c)
	default:
		w.choose(c)
	}
}

// choose picks an upstream for c, unless a limit keeps it out, and starts to connect.
func (w *worker) choose(c *conn) {
	ref := w.routes.at(c.route)
	if why, admitted := w.enter(c, ref); !admitted {
		w.end(c, why)
		return
	}
	c.state = connecting
	c.choice = ref.route.Upstreams.Begin(c.client.AddrPort(), c.dst.AddrPort())
	w.dial(c)
}

// refuse resets a client.
func (w *worker) refuse(fd int, client sock.Addr, why stats.Reason) {
	w.end(w.open(fd, client), why)
}

// open makes a connection of an accepted socket and counts it with its route.
func (w *worker) open(fd int, client sock.Addr) *conn {
	c := w.slab.get()
	c.state = connecting
	c.legs[0].fd, c.legs[1].fd = int32(fd), noFD
	c.client = client
	c.accepted = w.clock.now
	c.dst, _ = sock.LocalAddress(fd) // cannot fail on a socket; if it does, no route claims the zero address
	c.route = w.routes.hold(w.engine.options.Routes.Lookup(rule.TCP, client.AddrPort().Addr(), c.dst.AddrPort()))
	w.routes.at(c.route).shard.Opened.Add(1)
	return c
}
