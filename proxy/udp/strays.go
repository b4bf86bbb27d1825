package udp

import "anyport/proxy/stats"

// stray is a datagram of a client that has come to another worker than the one that has its flow.
type stray struct {
	owner *worker
	key   flowKey
	i     int // of the datagram in the batch
}

// passOn has strays forwarded, before their batch is used again. It holds no lock but an owner's, so that workers who pass
// on to each other do not wait for each other.
func (w *worker) passOn() {
	for i := range w.strays {
		s := &w.strays[i]
		if !s.owner.forwardFor(w, s) {
			w.dropAll(stats.DropNoFlow, w.batch.Train(s.i).Count())
		}
	}
	w.strays = w.strays[:0]
}

// forwardFor forwards a stray of another worker. It reports false if its flow has ended since.
func (w *worker) forwardFor(other *worker, s *stray) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	id := w.flows.find(&s.key)
	if id == noFlow {
		return false
	}
	w.flowToUpstream(id, &other.headers[s.i], other.batch.Train(s.i))
	w.raw.Flush()
	return true
}
