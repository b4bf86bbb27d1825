package tcp

import (
	"golang.org/x/sys/unix"

	"anyport/proxy/route"
	"anyport/proxy/sock"
	"anyport/proxy/stats"
)

// begin turns a connection whose upstream has answered into one that relays.
func (w *worker) begin(c *conn) {
	ref := w.routes.at(c.route)
	c.state = relaying
	c.connectTime = w.clock.now - c.accepted
	c.headerDue = ref.route.ProxyProtocol != 0
	c.legs[client].flags |= readable // most clients have sent something by now
	c.active = w.clock.tick()
	c.nextLine = c.active + w.progress
	w.awaitSilence(c)
	guard(c, ref.route)
}

// guard tells the kernel when to give up the peers of c.
func guard(c *conn, rt *route.Route) {
	for _, l := range c.legs {
		if rt.UserTimeout != 0 {
			sock.SetUserTimeout(int(l.fd), rt.UserTimeout)
		}
		if rt.Keepalive != 0 {
			sock.SetKeepalive(int(l.fd), rt.Keepalive)
		}
	}
}

// attend puts the client's socket into the epoll set. What happened to the socket until now is reported then.
func (w *worker) attend(c *conn) {
	errno := w.epoll.Add(int(c.legs[client].fd), sock.NewEvent(interest, c.key(client)))
	if errno != 0 {
		w.end(c, stats.NoDescriptor)
	}
}

// note takes down what an event says about one side.
func (w *worker) note(c *conn, s side, events uint32) {
	l, towards := &c.legs[s], &c.legs[s.other()]
	if events&^unix.EPOLLOUT != 0 {
		l.flags |= readable
	}
	if events&(unix.EPOLLOUT|unix.EPOLLERR|unix.EPOLLHUP) != 0 {
		towards.flags &^= blocked
	}
	if events&(unix.EPOLLRDHUP|unix.EPOLLERR) == unix.EPOLLRDHUP && c.failed != failureOf(s) {
		l.flags |= finSeen // a RST is reported as both, the latter until the error has been taken
	}
	if events&unix.EPOLLPRI != 0 {
		l.flags |= wary
	}
	if events&unix.EPOLLERR != 0 {
		w.lost(c, s, 0)
	}
}

// relay moves what can be moved, both ways.
func (w *worker) relay(c *conn) {
	for _, s := range [...]side{client, upstream} {
		if c.state == relaying {
			w.move(c, s)
		}
	}
}

// turn is how many bytes a direction may move before others have theirs.
const turn = 1 << 20

// move carries data from side s to the other until one of them has to be waited for, the connection ends or the
// direction's turn is over.
func (w *worker) move(c *conn, s side) {
	from := &c.legs[s]
	for start := from.moved; from.moved-start < turn; {
		switch {
		case from.is(void|blocked) || !w.deliver(c, s):
			return
		case from.is(exhausted):
			w.finish(c, s)
			return
		case !from.is(readable):
			return
		}
		w.transfer(c, s)
		if c.state != relaying {
			return
		}
	}
	w.again = append(w.again, c.key(s))
}

// deliver sends what is held back for the side opposite s, and reports whether nothing is any more.
func (w *worker) deliver(c *conn, s side) bool {
	if s == client && c.headerDue && !w.sendHeader(c) {
		return false
	}
	return c.legs[s].pipe == 0 || w.flush(c, s)
}

// transfer reads once from side s and passes on what it got.
func (w *worker) transfer(c *conn, s side) {
	from := &c.legs[s]
	if from.full < spliceAfter || from.is(wary) || !w.pipes.ready(w.clock.tick()) || !w.splice(c, s) {
		w.copy(c, s)
	}
}

// finish ends the direction that starts at s: everything that came from there has been delivered. It passes on the FIN,
// or what else the data ended with. A RST after both FINs changes nothing: that peer would not have noticed it either.
func (w *worker) finish(c *conn, s side) {
	from, to := &c.legs[s], &c.legs[s.other()]
	if from.is(finSeen) && from.is(finSent) {
		w.end(c, stats.Done)
		return
	}
	if from.is(finSeen) && !to.is(finSent) {
		sock.ShutdownWrite(int(to.fd))
		to.flags |= finSent
		c.active = w.clock.tick()
		if c.failed == nobody {
			w.awaitSilence(c)
		}
	}
	if c.failed == failureOf(s) {
		w.passReset(c)
	}
}

// credit counts n bytes that the side opposite s has taken.
func (w *worker) credit(c *conn, s side, n int) {
	c.legs[s].moved += uint64(n)
	c.active = w.clock.tick()
	shard := w.routes.at(c.route).shard
	if s == client {
		shard.BytesIn.Add(uint64(n))
	} else {
		shard.BytesOut.Add(uint64(n))
	}
}
