package tcp

import "math/bits"

// timerWheel fires connections' timers. A slot is one tick wide and heads a doubly linked list that runs through the
// slab; a timer further away than the wheel goes round waits in the last slot and is looked at again there. Setting
// and stopping one is a few writes, and there is nothing for the garbage collector to see.
type timerWheel struct {
	slab     *slab
	heads    [wheelSlots]timerLink
	occupied [wheelSlots / 64]uint64 // bit i: slot i has a timer
	turned   tick                    // every slot up to this one has fired
	earliest tick                    // no timer is in a slot before this one; valid if count > 0
	count    int
}

// wheelSlots makes one turn 69 s, so that an idle connection costs one look in that time.
const wheelSlots = 4096

// timerLink is a connection's index plus 1; 0 ends a list.
type timerLink int32

// timer is a connection's place in the wheel.
type timer struct {
	next, prev timerLink
	slot       uint16
	set        bool
}

func (w *timerWheel) linked(l timerLink) *conn { return w.slab.at(int32(l) - 1) }

// start sets c's timer for t, or as near to t as the wheel reaches.
func (w *timerWheel) start(c *conn, t tick) {
	w.stop(c)
	if !w.turned.before(t) {
		t = w.turned + 1
	}
	if last := w.turned + wheelSlots - 1; last.before(t) {
		t = last
	}
	slot := t % wheelSlots
	c.timer = timer{next: w.heads[slot], slot: uint16(slot), set: true}
	self := timerLink(c.index + 1)
	if c.timer.next != 0 {
		w.linked(c.timer.next).timer.prev = self
	}
	w.heads[slot] = self
	w.occupied[slot/64] |= 1 << (slot % 64)
	if w.count == 0 || t.before(w.earliest) {
		w.earliest = t
	}
	w.count++
}

// stop takes c's timer out, if it is set.
func (w *timerWheel) stop(c *conn) {
	t := c.timer
	if !t.set {
		return
	}
	if t.next != 0 {
		w.linked(t.next).timer.prev = t.prev
	}
	if t.prev != 0 {
		w.linked(t.prev).timer.next = t.next
	} else {
		w.heads[t.slot] = t.next
	}
	if w.heads[t.slot] == 0 {
		w.occupied[t.slot/64] &^= 1 << (t.slot % 64)
	}
	c.timer = timer{}
	w.count--
}

// next returns the tick to call turn at: no timer is due earlier. It is false if none is set.
func (w *timerWheel) next() (tick, bool) { return w.earliest, w.count > 0 }

// turn calls fire for each connection whose slot has come by now. Its timer is stopped before; fire may start it again
// and may end any connection.
func (w *timerWheel) turn(now tick, fire func(*conn)) {
	for w.count > 0 && !now.before(w.earliest) {
		slot := w.earliest % wheelSlots
		w.turned = w.earliest
		for w.heads[slot] != 0 {
			c := w.linked(w.heads[slot])
			w.stop(c)
			fire(c)
		}
		w.earliest = w.occupiedAfter(w.turned)
	}
	if w.turned.before(now) {
		w.turned = now
	}
}

// occupiedAfter returns the tick of the first slot behind t that has a timer, or t if there is none.
func (w *timerWheel) occupiedAfter(t tick) tick {
	for i := tick(1); i < wheelSlots; {
		slot := (t + i) % wheelSlots
		if word := w.occupied[slot/64] >> (slot % 64); word != 0 {
			return t + i + tick(bits.TrailingZeros64(word))
		}
		i += 64 - slot%64
	}
	return t
}
