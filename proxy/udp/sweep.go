package udp

import "anyport/proxy/offload"

// catchUp takes over what a flow has carried elsewhere, and reports whether that is anything.
func (w *worker) catchUp(id flowID) bool {
	slot, ok := w.flows.slot(id)
	return ok && w.absorb(id, w.offloader.Usage(slot))
}

// absorb adds what is new in a flow's usage to its counters and its route's, and reports whether anything is.
func (w *worker) absorb(id flowID, u offload.Usage) bool {
	all := w.flows.totals(id)
	fresh := flowTotals{packetsIn: u.PacketsIn, bytesIn: u.BytesIn, packetsOut: u.PacketsOut, bytesOut: u.BytesOut}
	for i := range fresh {
		fresh[i] -= all[i]
		w.flows.count(id, i, fresh[i])
	}
	if fresh == (flowTotals{}) {
		return false
	}
	shard := w.flows.targets.list[w.flows.flows[id].target].shard
	shard.PacketsIn.Add(fresh[packetsIn])
	shard.BytesIn.Add(fresh[bytesIn])
	shard.PacketsOut.Add(fresh[packetsOut])
	shard.BytesOut.Add(fresh[bytesOut])
	seen := max(w.flows.flows[id].seen, tickOf(max(0, w.sinceStart-u.Silent)))
	if fresh[packetsOut] > 0 {
		w.flows.fromUpstream(id, seen)
	}
	if fresh[packetsIn] > 0 {
		w.flows.fromClient(id, seen)
	}
	return true
}

// Each second the engine looks at what its flows have carried elsewhere, sweepBatch of them in one turn of the loop, some
// 0.1 ms of work. So metrics are a second old at most, and the order in which flows were seen is right to a second.
const (
	sweepBatch = 1024
	sweepEvery = tick(1e9 / int64(tickLength))
)

// sweep reports whether it has left flows for the next turn.
func (w *worker) sweep() (more bool) {
	if w.flows.slots == nil || w.swept == 0 && w.now-w.sweptAt < sweepEvery {
		return false
	}
	if w.swept == 0 {
		w.sweptAt = w.now
	}
	end := min(int(w.swept)+sweepBatch, len(w.flows.slots))
	for id := int(w.swept); id < end; id++ {
		if w.flows.slots[id] != 0 {
			w.catchUp(flowID(id))
		}
	}
	if end == len(w.flows.slots) {
		w.swept = 0
		return false
	}
	w.swept = flowID(end)
	return true
}
