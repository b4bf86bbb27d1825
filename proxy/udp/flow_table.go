package udp

import (
	"hash/maphash"

	"anyport/conf/rule"
	"anyport/proxy/sock"
)

// flowTable holds the flows. A flow's place is its NAT address and port, so replies need no index; an index finds
// the flows of clients. It takes 80 bytes and 2 for each NAT port, and 10 to 20 for each flow of the maximum.
type flowTable struct {
	seed    maphash.Seed
	flows   []flow
	slots   []uint32 // of flows that are forwarded elsewhere, plus 1; 0: none. nil: there is no Offloader
	index   flowIndex
	open    int // flows
	max     int // of all workers together
	blocks  []*natBlock
	byAddr  map[[16]byte][]*natBlock
	classes []*idleClass
	targets targetTable
	carried map[flowID]flowTotals // what the counters of a flow have carried past 32 bits
	resting flowList              // NAT ports in quarantine, in the order in which they will be free
}

func newFlowTable(maxFlows int) *flowTable {
	return &flowTable{
		seed:    maphash.MakeSeed(),
		index:   newFlowIndex(0),
		max:     maxFlows,
		byAddr:  make(map[[16]byte][]*natBlock),
		targets: targetTable{byKey: make(map[targetKey]uint32)},
		carried: make(map[flowID]flowTotals),
		resting: newFlowList(),
	}
}

// hash is seeded, so that clients cannot choose keys that collide.
func (t *flowTable) hash(key *flowKey) uint32 { return uint32(maphash.Comparable(t.seed, *key)) }

// find returns the flow with that key, or noFlow.
func (t *flowTable) find(key *flowKey) flowID { return t.index.find(t.flows, t.hash(key), key) }

// findNAT returns the flow that sends from that NAT address and port, or noFlow.
func (t *flowTable) findNAT(nat *sock.Addr) flowID {
	if id := t.place(nat); id != noFlow && t.flows[id].state.isOpen() {
		return id
	}
	return noFlow
}

// place returns the place in the table of a NAT address and port, or noFlow if it is not ours.
func (t *flowTable) place(nat *sock.Addr) flowID {
	for _, b := range t.byAddr[nat.IP] {
		if nat.Port >= b.first() && nat.Port <= b.last() {
			return b.base + flowID(nat.Port-b.first())
		}
	}
	return noFlow
}

// insert opens a flow at a place that its block has handed out. The key has no flow yet.
func (t *flowTable) insert(id flowID, f flow) {
	f.state = fresh
	t.flows[id] = f
	t.index.insert(t.hash(&f.key), id)
	t.listOf(&f).push(t.flows, id)
	t.open++
}

// remove ends a flow. Its NAT port rests from now on.
func (t *flowTable) remove(id flowID, now tick) {
	f := &t.flows[id]
	t.index.remove(t.hash(&f.key), id)
	t.listOf(f).remove(t.flows, id)
	block := t.targets.list[f.target].key.block.number
	t.targets.release(f.target)
	delete(t.carried, id)
	t.open--
	f.state, f.seen, f.target = resting, now, block
	t.resting.push(t.flows, id)
}

// endQuarantines frees the NAT ports that have rested long enough.
func (t *flowTable) endQuarantines(now tick) {
	for !t.resting.empty() {
		id := t.resting.head
		f := &t.flows[id]
		if now-f.seen < quarantineTicks {
			return
		}
		t.resting.remove(t.flows, id)
		f.state = unused
		t.blocks[f.target].give(id)
	}
}

// addBlock adds ports of a NAT address, none of which is in the table yet: ranges, which is what is left of wanted.
func (t *flowTable) addBlock(addr sock.Addr, wanted rule.PortRange, ranges []rule.PortRange) {
	b := newNATBlock(addr, wanted, ranges)
	b.number, b.base = uint32(len(t.blocks)), flowID(len(t.flows))
	t.flows = append(make([]flow, 0, len(t.flows)+b.span()), t.flows...)[:len(t.flows)+b.span()]
	if t.slots != nil {
		t.slots = append(t.slots, make([]uint32, b.span())...)
	}
	t.blocks = append(t.blocks, b)
	t.byAddr[addr.IP] = append(t.byAddr[addr.IP], b)
	t.index = t.index.resized(min(t.max, len(t.flows)))
}
