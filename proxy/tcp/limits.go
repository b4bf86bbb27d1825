package tcp

import "anyport/proxy/stats"

// enter counts c with its route and its source, or says which limit keeps it out.
func (w *worker) enter(c *conn, ref *routeRef) (why stats.Reason, admitted bool) {
	gate := &ref.route.Stats.OpenTCP
	if !gate.Enter(ref.route.MaxConnections) {
		return stats.RouteLimit, false
	}
	if !w.engine.options.Sources.Enter(c.client.AddrPort().Addr()) {
		gate.Leave()
		return stats.SourceLimit, false
	}
	c.counted = true
	return 0, true
}

// leave undoes enter, if it admitted c.
func (w *worker) leave(c *conn, ref *routeRef) {
	if c.counted {
		ref.route.Stats.OpenTCP.Leave()
		w.engine.options.Sources.Leave(c.client.AddrPort().Addr())
	}
}
