package tcp

import (
	"syscall"
	"time"

	"anyport/proxy/sock"
	"anyport/proxy/stats"
)

// logEnd tells the access log, if there is one, how c has ended.
func (w *worker) logEnd(c *conn, ref *routeRef, why stats.Reason) {
	if w.engine.options.AccessLog == nil {
		return
	}
	w.describe(c, ref)
	w.record.Reason = why
	if why.HasErrno() {
		w.record.Errno = syscall.Errno(c.errno)
	}
	w.engine.options.AccessLog.Log(&w.record)
}

// logProgress tells the access log how far c has come.
func (w *worker) logProgress(c *conn) {
	w.describe(c, w.routes.at(c.route))
	w.record.Open = true
	w.engine.options.AccessLog.Log(&w.record)
}

// describe puts everything but how c has ended into the worker's record.
func (w *worker) describe(c *conn, ref *routeRef) {
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
		ClientRTT:   sock.RTT(int(c.legs[client].fd)),
	}
	if ref.route != nil {
		w.record.Route = ref.route.Name
	}
	if c.hasDialled() {
		w.record.Upstream = c.upstream.AddrPort()
	}
	if c.state == relaying {
		w.record.UpstreamRTT = sock.RTT(int(c.legs[upstream].fd))
	}
}
