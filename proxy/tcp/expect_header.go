package tcp

import (
	"syscall"

	"golang.org/x/sys/unix"

	"anyport/proxy/sock"
	"anyport/proxy/stats"
)

// A connection from a listed sender begins with a PROXY header. It is peeked at and left in the socket's receive buffer
// until it is complete; then exactly its bytes are taken out, so that the data behind it is where the relay looks. The
// header's source becomes the client for everything that follows. Its destination is not used: route and original
// destination are the connection's own, as for every other client.

// expectHeader waits for c's PROXY header, and goes on once it is there.
func (w *worker) expectHeader(c *conn) {
	c.state = greeting
	switch w.readHeader(c, 0) { // the first segment of most senders is here by now
	case complete:
		w.choose(c)
		return
	case malformed:
		return
	}
	fd := int(c.legs[client].fd)
	if errno := w.epoll.Add(fd, sock.NewEvent(unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLET, c.key(client))); errno != 0 {
		w.end(c, stats.NoDescriptor)
		return
	}
	if limit := w.routes.at(c.route).header; limit != 0 {
		c.deadline = w.clock.tick() + limit
		w.timers.start(c, c.deadline)
	}
}

// greeted takes an event on the client's socket of a connection that waits for its header. Once that is there, the
// socket is left alone until an upstream has answered, as any other client's.
func (w *worker) greeted(c *conn, events uint32) {
	if w.readHeader(c, events) == complete {
		w.timers.stop(c)
		w.epoll.Remove(int(c.legs[client].fd))
		w.choose(c)
	}
}

// readHeader takes c's header out of its socket if it is complete, and ends c if it is malformed, or cannot become
// complete after these events.
func (w *worker) readHeader(c *conn, events uint32) verdict {
	fd := int(c.legs[client].fd)
	n, errno := sock.Recv(fd, w.buf[:maxHeaderBytes], unix.MSG_PEEK)
	h, v := parseHeader(w.buf[:n])
	if v == incomplete && n > 0 && events&unix.EPOLLERR != 0 {
		errno = sock.TakeError(fd)
	}
	finished := n == 0 && errno == 0 || events&unix.EPOLLRDHUP != 0
	switch {
	case errno != 0 && errno != unix.EAGAIN:
		w.failHeader(c, errno)
	case v == malformed, v == incomplete && finished:
		w.end(c, stats.ProxyHeaderInvalid)
	case v == incomplete:
		return incomplete
	default:
		return w.takeHeader(c, h)
	}
	return malformed
}

// takeHeader believes a complete header and removes it from the socket, where it has been peeked at.
func (w *worker) takeHeader(c *conn, h header) verdict {
	if errno := sock.Discard(int(c.legs[client].fd), h.size); errno != 0 {
		w.failHeader(c, errno)
		return malformed
	}
	if !h.local {
		c.client = h.source
	}
	return complete
}

// failHeader ends a connection whose socket has failed before its header was there.
func (w *worker) failHeader(c *conn, errno syscall.Errno) {
	if errno == unix.ECONNRESET {
		w.end(c, stats.ClientReset)
		return
	}
	c.errno = uint16(errno)
	w.end(c, stats.IOError)
}
