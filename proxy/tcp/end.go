package tcp

import (
	"syscall"
	"time"

	"anyport/proxy/sock"
	"anyport/proxy/stats"
)

// noFD stands for a socket that is not open.
const noFD = -1

// end closes both sockets of c, with a RST unless both directions are complete, and gives its slot back. It is counted
// and logged before a peer can see it.
func (w *worker) end(c *conn, why stats.Reason) {
	ref := w.routes.at(c.route)
	ref.shard.Ended[why].Add(1)
	w.logEnd(c, ref, why)
	w.timers.stop(c)
	for s := range c.legs {
		w.pipes.put(c.legs[s].pipe)
		closeSocket(c.legs[s].fd, why)
	}
	w.leave(c, ref)
	w.routes.release(c.route)
	w.slab.put(c)
	w.load.Add(-1)
	w.engine.left()
}

func closeSocket(fd int32, why stats.Reason) {
	switch {
	case fd == noFD:
	case why == stats.Done:
		sock.Close(int(fd))
	default:
		sock.Abort(int(fd))
	}
}

// logEnd offers c to the access log.
func (w *worker) logEnd(c *conn, ref *routeRef, why stats.Reason) {
	if w.engine.options.AccessLog == nil {
		return
	}
	duration := time.Duration(int64(time.Since(w.engine.epoch)) - c.accepted)
	w.record = stats.Record{
		Start:       time.Now().Add(-duration),
		Duration:    duration,
		ConnectTime: time.Duration(c.connectTime),
		Protocol:    "tcp",
		Client:      c.client.AddrPort(),
		Destination: c.dst.AddrPort(),
		BytesIn:     c.legs[client].moved,
		BytesOut:    c.legs[upstream].moved,
		Reason:      why,
	}
	if ref.route != nil {
		w.record.Route = ref.route.Name
	}
	if c.attempt > 0 {
		w.record.Upstream = c.upstream.AddrPort()
	}
	if why.HasErrno() {
		w.record.Errno = syscall.Errno(c.errno)
	}
	w.engine.options.AccessLog.Log(&w.record)
}
