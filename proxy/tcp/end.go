package tcp

import (
	"anyport/proxy/sock"
	"anyport/proxy/stats"
)

// noFD stands for a socket that is not open.
const noFD = -1

// end closes both sockets of c, with a RST unless both directions are complete, and gives its slot back. It is counted
// and logged, and its place under the limits is free, before a peer can see it.
func (w *worker) end(c *conn, why stats.Reason) {
	ref := w.routes.at(c.route)
	w.leave(c, ref)
	ref.shard.Ended[why].Add(1)
	w.logEnd(c, ref, why)
	w.timers.stop(c)
	w.letGo(c)
	for s := range c.legs {
		w.pipes.put(c.legs[s].pipe)
		closeSocket(c.legs[s].fd, why)
	}
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
