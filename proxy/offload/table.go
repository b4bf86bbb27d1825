package offload

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"

	"anyport/bpf"
)

// Table is the flows that the kernel forwards. They are in pinned maps and outlive the process. Its methods are safe for
// concurrent use, by one process at a time.
type Table struct {
	maps  *flowMaps
	clock clock

	mu         sync.Mutex // guards the fields below
	slots      slots
	used       int               // slots
	generation uint16            // of what is put in
	routes     map[string]uint16 // ids by name; an id is never taken back
	open       bool              // Offer takes flows
}

// MaxTableFlows bounds a table: its maps take 300 bytes a flow, used or not. It is MAX_SLOTS of
// bpf/flows.h.
const MaxTableFlows = 1 << 20

// OpenTable opens the maps that are pinned in dir, a directory in a bpffs, with the flows in them, or makes maps for up to
// n flows. Flows that are there already are taken by [Table.Adopt]. The table takes new ones once it is told to by
// [Table.Accept]. The caller closes it.
func OpenTable(dir string, n int) (*Table, error) {
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make pin directory: %w", err)
	}
	maps, err := openMaps(dir, min(n, MaxTableFlows))
	if err != nil {
		return nil, err
	}
	t := &Table{maps: maps, routes: make(map[string]uint16), slots: newSlots(len(maps.flows))}
	if t.clock, err = newClock(); err == nil {
		err = t.readRoutes()
	}
	if err != nil {
		return nil, errors.Join(err, maps.close())
	}
	rested := t.clock.now() - restUnits
	for i := range maps.flows {
		if g := maps.flows[i].In.Generation; g != 0 {
			t.used++
			t.generation = max(t.generation, g)
		} else {
			t.slots.give(uint32(i), rested)
		}
	}
	t.nextGeneration()
	return t, nil
}

// readRoutes reads the names that a process before this one has given ids.
func (t *Table) readRoutes() error {
	var id uint32
	var r bpf.OffloadRoute
	entries := t.maps.byName[bpf.OffloadMapRoutes].Iterate()
	for entries.Next(&id, &r) {
		t.routes[routeName(&r)] = uint16(id)
	}
	if err := entries.Err(); err != nil {
		return fmt.Errorf("read routes of flows: %w", err)
	}
	return nil
}

func routeName(r *bpf.OffloadRoute) string {
	name, _, _ := bytes.Cut(r.Name[:], []byte{0})
	return string(name)
}

// Close lets go of the maps; the flows stay in them.
func (t *Table) Close() error { return t.maps.close() }

// Len returns how many flows are in the table, and Cap how many fit.
func (t *Table) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.used
}

// Cap returns how many flows fit.
func (t *Table) Cap() int { return len(t.maps.flows) }

// Accept says whether Offer takes flows.
func (t *Table) Accept(open bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.open = open
}

// NextGeneration notes that routes have changed: flows that are put in from now on bear another number.
func (t *Table) NextGeneration() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.nextGeneration()
}

// nextGeneration skips 0, which is a free slot's.
func (t *Table) nextGeneration() {
	if t.generation++; t.generation == 0 {
		t.generation = 1
	}
}

// Offer has the kernel forward a flow, and returns the flow's slot. It returns false where the kernel cannot, or must not
// now: the flow goes on through the sockets.
func (t *Table) Offer(f *Flow) (slot uint32, ok bool) {
	if !f.canForward() {
		return 0, false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.open {
		return 0, false
	}
	route, ok := t.routeID(f.Route)
	if !ok {
		return 0, false
	}
	now := t.clock.now()
	if slot, ok = t.slots.take(now); !ok {
		return 0, false
	}
	fill(&t.maps.flows[slot], f, now, route, t.generation)
	t.used++
	if !t.insert(slot) {
		t.free(slot)
		return 0, false
	}
	return slot, true
}

// insert has the index lead to a slot's flow, both ways or not at all: another flow may have the same addresses.
func (t *Table) insert(slot uint32) bool {
	if !t.maps.index.add(2*slot + 1) {
		return false
	}
	if !t.maps.index.add(2 * slot) {
		t.maps.index.remove(2*slot + 1)
		return false
	}
	return true
}

// remove takes the flow of a slot out.
func (t *Table) remove(slot uint32) {
	t.maps.index.remove(2 * slot)
	t.maps.index.remove(2*slot + 1)
	t.free(slot)
}

// free makes room for another flow in a slot that nothing leads to any more.
func (t *Table) free(slot uint32) {
	s := &t.maps.flows[slot]
	s.In.Generation, s.Out.Generation = 0, 0
	t.used--
	t.slots.give(slot, t.clock.now())
}

// routeID returns the id of a route, and false if there is none left.
func (t *Table) routeID(name string) (uint16, bool) {
	if id, ok := t.routes[name]; ok {
		return id, true
	}
	id := len(t.routes) // ids are handed out in order, and never taken back
	var r bpf.OffloadRoute
	if copy(r.Name[:len(r.Name)-1], name) < len(name) {
		return 0, false
	}
	if err := t.maps.byName[bpf.OffloadMapRoutes].Put(uint32(id), &r); err != nil {
		return 0, false // there are as many as fit
	}
	t.routes[name] = uint16(id)
	return uint16(id), true
}

// Usage returns what the flow of a slot has carried, the usage that it was offered with included.
func (t *Table) Usage(slot uint32) Usage { return usage(&t.maps.flows[slot], t.clock.now()) }

// Count adds what the flow of a slot has just carried through the sockets.
func (t *Table) Count(slot uint32, u Usage) {
	s := &t.maps.flows[slot]
	atomic.AddUint64(&s.In.Packets, u.PacketsIn)
	atomic.AddUint64(&s.In.Bytes, u.BytesIn)
	atomic.AddUint64(&s.Out.Packets, u.PacketsOut)
	atomic.AddUint64(&s.Out.Bytes, u.BytesOut)
	atomic.StoreUint32(&s.In.Seen, uint32(t.clock.now()))
}

// Withdraw takes the flow of a slot back: from now on its datagrams come to the sockets. It returns what the flow has
// carried.
func (t *Table) Withdraw(slot uint32) Usage {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.remove(slot)
	return usage(&t.maps.flows[slot], t.clock.now())
}

// Adopt calls keep for each flow that a process before this one has left. Those that it returns false for are taken out. keep may
// change MaxDatagram.
func (t *Table) Adopt(keep func(slot uint32, f *Flow) bool) {
	t.mu.Lock()
	names := make(map[uint16]string, len(t.routes))
	for name, id := range t.routes {
		names[id] = name
	}
	t.mu.Unlock()
	now := t.clock.now()
	for i := range t.maps.flows {
		s := &t.maps.flows[i]
		if s.In.Generation == 0 {
			continue
		}
		f := &Flow{
			Client:   sourceOf(&s.In.From),
			Original: destinationOf(&s.In.From),
			NAT:      sourceOf(&s.In.To),
			Upstream: destinationOf(&s.In.To),
			Route:    names[s.In.Route],
			Idle:     units(s.In.Idle).duration(),
			Age:      (now - units(s.In.Started)).duration(),
			Usage:    usage(s, now),
		}
		if !keep(uint32(i), f) || !t.complete(uint32(i)) {
			t.Withdraw(uint32(i))
			continue
		}
		atomic.StoreUint32(&s.Out.Longest, f.longestOut())
	}
}

// complete adds to the index what a process may not have got to.
func (t *Table) complete(slot uint32) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.insert(slot)
}
