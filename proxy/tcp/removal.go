package tcp

import "anyport/proxy/stats"

// EndRemoved resets the connections to upstreams that are closing (reason UpstreamRemoved); those that are still
// connecting go on to another one. It does not wait for that.
func (e *Engine) EndRemoved() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.released {
		return
	}
	for _, w := range e.workers {
		w.review.Store(true)
		w.wakeup.Signal()
	}
}

// endRemoved looks at all connections once.
func (w *worker) endRemoved() {
	w.slab.each(func(c *conn) {
		switch {
		case c.member == 0 || !w.claimed(c).IsClosing():
		case c.state == connecting:
			w.timers.stop(c)
			w.hangUp(c)
			w.letGo(c)
			w.dial(c)
		default:
			w.end(c, stats.UpstreamRemoved)
		}
	})
}
