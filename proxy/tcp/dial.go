package tcp

import (
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"

	"anyport/proxy/sock"
	"anyport/proxy/stats"
	balance "anyport/proxy/upstream"
)

// dial starts to connect c to the next endpoint of its route. With none left, c ends for the reason that the last one
// gave.
func (w *worker) dial(c *conn) {
	group := w.routes.at(c.route).route.Upstreams
	for {
		endpoint := group.Next(&c.choice)
		if endpoint == nil {
			w.end(c, c.lastReason())
			return
		}
		c.member = endpoint.Member().Number()
		c.errno = 0
		if w.try(c, endpoint.Dial(c.dst.Port)) {
			return
		}
		w.letGo(c)
	}
}

// hasDialled reports whether an upstream has been found for c, however that went.
func (c *conn) hasDialled() bool { return c.upstream.Port != 0 }

func (c *conn) lastReason() stats.Reason {
	if !c.hasDialled() {
		return stats.NoUpstream
	}
	return c.reason
}

// claimed returns the endpoint that c has a claim on.
func (w *worker) claimed(c *conn) *balance.Member {
	return w.routes.at(c.route).route.Upstreams.Member(c.member)
}

// letGo gives back c's claim on an endpoint, if it has one.
func (w *worker) letGo(c *conn) {
	if c.member != 0 {
		w.claimed(c).Release()
		c.member = 0
	}
}

// try starts to connect c to one address, and reports whether that is under way.
func (w *worker) try(c *conn, to netip.AddrPort) bool {
	c.upstream = sock.AddrFrom(to)
	if w.engine.options.Routes.Serves(to.Addr()) {
		c.reason = stats.Loop
		return false
	}
	fd, errno := w.connect(c)
	if fd >= w.engine.bound {
		sock.Abort(fd)
		errno = unix.EMFILE
	}
	if errno != 0 && errno != unix.EINPROGRESS {
		w.connectFailed(c, errno)
		return false
	}
	c.legs[upstream].fd = int32(fd)
	if errno := w.epoll.Add(fd, sock.NewEvent(interest, c.key(upstream))); errno != 0 {
		w.hangUp(c)
		w.connectFailed(c, errno)
		return false
	}
	if limit := w.routes.at(c.route).connect; limit != 0 {
		c.deadline = w.clock.tick() + limit
		w.timers.start(c, c.deadline)
	}
	return true
}

// connectFailed keeps why an attempt to connect has failed, and tells the endpoint.
func (w *worker) connectFailed(c *conn, errno syscall.Errno) {
	w.claimed(c).Failed(errno)
	c.failedToConnect(errno)
}

func (c *conn) failedToConnect(errno syscall.Errno) {
	switch errno {
	case unix.ECONNREFUSED:
		c.reason = stats.ConnectRefused
	case unix.ETIMEDOUT:
		c.reason = stats.ConnectTimeout
	case unix.EHOSTUNREACH, unix.ENETUNREACH:
		c.reason = stats.ConnectUnreachable
	case unix.EADDRNOTAVAIL:
		c.reason = stats.NoSource
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
	w.connectFailed(c, errno)
	w.letGo(c)
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
	w.claimed(c).Connected()
	w.begin(c)
	w.note(c, upstream, events)
	if resetAtOnce {
		w.lost(c, upstream, errno)
	}
	w.relay(c)
	if c.state == relaying {
		sock.AckNow(int(c.legs[upstream].fd))
		w.attend(c)
	}
}
