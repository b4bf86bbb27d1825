package offload

// slots hands out the places of flows in the flow map, the one that has been free longest first.
type slots struct {
	ring []freeSlot // as many as there are slots
	head int        // the next to hand out
	free int
}

type freeSlot struct {
	slot  uint32
	since units
}

// restUnits is how long a slot rests before another flow gets it, about a second: a packet that found the old flow
// just before it left the index must be through with the slot, for which the program runs a microsecond, and the path that
// is remembered for it (bpf/path.h) must be one of an earlier unit of time.
const restUnits = 60

func newSlots(n int) slots { return slots{ring: make([]freeSlot, n)} }

// give takes a slot back, or, at the beginning, for the first time.
func (s *slots) give(slot uint32, now units) {
	s.ring[(s.head+s.free)%len(s.ring)] = freeSlot{slot, now}
	s.free++
}

// rested reports whether there is a slot to hand out.
func (s *slots) rested(now units) bool { return s.free > 0 && now-s.ring[s.head].since >= restUnits }

// take returns a slot that has rested, and false if there is none.
func (s *slots) take(now units) (slot uint32, ok bool) {
	if !s.rested(now) {
		return 0, false
	}
	slot = s.ring[s.head].slot
	s.head = (s.head + 1) % len(s.ring)
	s.free--
	return slot, true
}
