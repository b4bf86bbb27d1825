package udp

import (
	"anyport/proxy/offload"
	"anyport/proxy/stats"
)

// The counters of a flow.
const (
	packetsIn  = iota // datagrams from the client
	bytesIn           // their payload
	packetsOut        // datagrams to the client
	bytesOut          // their payload
	numCounters
)

// flowCounters is the low 32 bits of a flow's counters. Few flows ever count further; what they carry is kept beside
// the table, so that the others need no room for it.
type flowCounters [numCounters]uint32

// flowTotals is whole counters.
type flowTotals [numCounters]uint64

// count adds to a flow's counter.
func (t *flowTable) count(id flowID, counter int, n uint64) {
	sum := uint64(t.flows[id].counters[counter]) + n
	t.flows[id].counters[counter] = uint32(sum)
	if carry := sum >> 32; carry > 0 {
		carried := t.carried[id]
		carried[counter] += carry << 32
		t.carried[id] = carried
	}
}

// totals returns a flow's counters.
func (t *flowTable) totals(id flowID) flowTotals {
	all := t.carried[id]
	for i, n := range t.flows[id].counters {
		all[i] += uint64(n)
	}
	return all
}

// countIn counts n datagrams from the client, of so many bytes together.
func (w *worker) countIn(id flowID, shard *stats.Shard, n, payload int) {
	w.flows.count(id, packetsIn, uint64(n))
	w.flows.count(id, bytesIn, uint64(payload))
	shard.PacketsIn.Add(uint64(n))
	shard.BytesIn.Add(uint64(payload))
	w.passed(id, offload.Usage{PacketsIn: uint64(n), BytesIn: uint64(payload)})
}

// countOut counts n datagrams to the client, of so many bytes together.
func (w *worker) countOut(id flowID, shard *stats.Shard, n, payload int) {
	w.flows.count(id, packetsOut, uint64(n))
	w.flows.count(id, bytesOut, uint64(payload))
	shard.PacketsOut.Add(uint64(n))
	shard.BytesOut.Add(uint64(payload))
	w.passed(id, offload.Usage{PacketsOut: uint64(n), BytesOut: uint64(payload)})
}
