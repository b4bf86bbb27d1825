package udp

import (
	"anyport/proxy/sock"
	"anyport/proxy/stats"
)

// endFlow ends a flow: counters, access log, table.
func (w *worker) endFlow(id flowID, why stats.Reason) {
	w.withdraw(id)
	f := &w.flows.flows[id]
	t := &w.flows.targets.list[f.target]
	t.shard.Ended[why].Add(1)
	totals := w.flows.totals(id)
	w.record = stats.Record{
		Start:       w.started.Add(f.start),
		Duration:    w.sinceStart - f.start,
		Protocol:    "udp",
		Route:       t.key.route.Name,
		Client:      f.key.client.AddrPort(),
		Destination: f.key.dst.AddrPort(),
		Upstream:    sock.Addr{IP: t.upstream.IP, Port: f.upstreamPort}.AddrPort(),
		PacketsIn:   totals[packetsIn],
		PacketsOut:  totals[packetsOut],
		BytesIn:     totals[bytesIn],
		BytesOut:    totals[bytesOut],
		Reason:      why,
	}
	if why != stats.HandedOver {
		w.accessLog.Log(&w.record)
	}
	t.key.member.Release()
	w.dismiss(t.key.route, w.record.Client.Addr())
	w.shared.forget(&f.key)
	w.flows.remove(id, w.now)
}

// expireBatch is how many flows one turn of the loop may end, some 0.1 ms of work, so that a hundred thousand that
// time out together do not hold up the datagrams of others.
const expireBatch = 256

// expire ends flows whose idle timeout has passed, and reports whether it left any for the next turn.
func (w *worker) expire() (more bool) {
	for range expireBatch {
		id := w.flows.expired(w.now)
		if id == noFlow {
			return false
		}
		if !w.catchUp(id) {
			w.endFlow(id, stats.IdleTimeout)
		}
	}
	return true
}

// endAll ends every flow.
func (w *worker) endAll(why stats.Reason) {
	for _, c := range w.flows.classes {
		for _, list := range []*flowList{&c.fresh, &c.established} {
			for !list.empty() {
				w.endFlow(list.head, why)
			}
		}
	}
}
