package tcp

import (
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"

	"anyport/proxy/sock"
	"anyport/proxy/stats"
)

// dial starts to connect c to the next endpoint of its route. With none left, c ends for the reason that the last one
// gave.
func (w *worker) dial(c *conn) {
	group := w.routes.at(c.route).route.Upstreams
	for {
		endpoint, ok := group.Endpoint(c.choice, int(c.attempt))
		if !ok {
			w.end(c, c.lastReason())
			return
		}
		c.attempt++
		c.errno = 0
		if w.try(c, endpoint.Dial(c.dst.Port)) {
			return
		}
	}
}

func (c *conn) lastReason() stats.Reason {
	if c.attempt == 0 {
		return stats.NoUpstream
	}
	return c.reason
}

// try starts to connect c to one address, and reports whether that is under way.
func (w *worker) try(c *conn, to netip.AddrPort) bool {
	c.upstream = sock.AddrFrom(to)
	if w.engine.options.Routes.Serves(to.Addr()) {
		c.reason = stats.Loop
		return false
	}
	fd, errno := sock.Connect(c.upstream)
	if fd >= w.engine.bound {
		sock.Abort(fd)
		errno = unix.EMFILE
	}
	if errno != 0 && errno != unix.EINPROGRESS {
		c.connectFailed(errno)
		return false
	}
	c.legs[upstream].fd = int32(fd)
	if errno := w.epoll.Add(fd, sock.NewEvent(interest, c.key(upstream))); errno != 0 {
		w.hangUp(c)
		c.connectFailed(errno)
		return false
	}
	if limit := w.routes.at(c.route).connect; limit != 0 {
		c.deadline = w.clock.tick() + limit
		w.timers.start(c, c.deadline)
	}
	return true
}

// connectFailed keeps why an attempt to connect has failed.
func (c *conn) connectFailed(errno syscall.Errno) {
	switch errno {
	case unix.ECONNREFUSED:
		c.reason = stats.ConnectRefused
	case unix.ETIMEDOUT:
		c.reason = stats.ConnectTimeout
	case unix.EHOSTUNREACH, unix.ENETUNREACH:
		c.reason = stats.ConnectUnreachable
	case unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM, unix.ENOSPC:
		c.reason = stats.NoDescriptor
	default:
		c.reason = stats.ConnectError
		c.errno = uint16(errno)
	}
}

// retry goes on to the next endpoint after an attempt has failed.
func (w *worker) retry(c *conn, errno syscall.Errno) {
	w.timers.stop(c)
	w.hangUp(c)
	c.connectFailed(errno)
	w.dial(c)
}

// hangUp closes the upstream's socket.
func (w *worker) hangUp(c *conn) {
	sock.Abort(int(c.legs[upstream].fd))
	c.legs[upstream].fd = noFD
}

// connected takes an event on the upstream's socket of a connection that is not through yet.
func (w *worker) connected(c *conn, events uint32) {
	var errno syscall.Errno
	if events&(unix.EPOLLERR|unix.EPOLLHUP) != 0 {
		errno = sock.TakeError(int(c.legs[upstream].fd))
	}
	resetAtOnce := errno == unix.ECONNRESET || errno == unix.EPIPE // a refused one is ECONNREFUSED
	switch {
	case errno != 0 && !resetAtOnce:
		w.retry(c, errno)
		return
	case events&(unix.EPOLLOUT|unix.EPOLLERR|unix.EPOLLHUP) == 0:
		return
	}
	w.begin(c)
	w.note(c, upstream, events)
	if resetAtOnce {
		w.lost(c, upstream, errno)
	}
	w.relay(c)
	w.attend(c)
}
