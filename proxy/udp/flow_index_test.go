package udp

import (
	"math/rand/v2"
	"testing"

	"anyport/proxy/sock"
)

// TestFlowIndex compares the index with a map under random insertions and removals, up to its limit. Hashes of few bits
// make long runs of collisions, around the end of the table too.
func TestFlowIndex(t *testing.T) {
	const limit = 200
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, bits := range []int{3, 8, 32} {
		x := newFlowIndex(limit)
		flows := make([]flow, limit)
		hashes := make(map[flowID]uint32)
		for step := range 50_000 {
			id := flowID(rnd.IntN(limit))
			if hash, ok := hashes[id]; ok {
				x.remove(hash, id)
				delete(hashes, id)
			} else {
				hashes[id] = rnd.Uint32() >> (32 - bits) << (rnd.IntN(2) * (32 - bits))
				flows[id].key = flowKey{client: sock.Addr{Port: uint16(id)}, dst: sock.Addr{Port: uint16(step)}}
				x.insert(hashes[id], id)
			}
			checkIndex(t, &x, flows, hashes, flowID(rnd.IntN(limit)))
		}
		for id := range flowID(limit) {
			checkIndex(t, &x, flows, hashes, id)
		}
	}
}

func checkIndex(t *testing.T, x *flowIndex, flows []flow, hashes map[flowID]uint32, id flowID) {
	t.Helper()
	hash, ok := hashes[id]
	if ok {
		if got := x.find(flows, hash, &flows[id].key); got != id {
			t.Fatalf("flow %d is found as %d", id, got)
		}
		return
	}
	if got := x.find(flows, hash, &flowKey{client: sock.Addr{Port: uint16(id)}}); got != noFlow {
		t.Fatalf("no flow is found as %d", got)
	}
}
