package tcp

import "time"

// tick is a point in time on a worker's coarse clock, in units of 2^24 ns (16.8 ms). It wraps after 2.2 years, so two
// ticks are compared by the sign of their difference.
type tick uint32

const tickBits = 24

// before reports whether t is earlier than u.
func (t tick) before(u tick) bool { return int32(t-u) < 0 }

// ticks returns how many ticks surely take d, which is at least 1, or 0 for a d of 0.
func ticks(d time.Duration) tick {
	const longest = 1 << 30 // 208 days
	if d <= 0 {
		return 0
	}
	return tick(min(int64(d)>>tickBits+2, longest))
}

// clock is a worker's time: read once for each batch of events, in nanoseconds since the engine began.
type clock struct {
	epoch time.Time
	now   int64
}

func (c *clock) read() { c.now = int64(time.Since(c.epoch)) }

func (c *clock) tick() tick { return tick(c.now >> tickBits) }

// untilTick returns the milliseconds until t, rounded up.
func (c *clock) untilTick(t tick) int {
	ahead := int64(int32(t - c.tick()))
	ns := (c.now>>tickBits+ahead)<<tickBits - c.now
	return c.ms(ns)
}

// until returns the milliseconds until ns nanoseconds since the engine began, rounded up.
func (c *clock) until(ns int64) int { return c.ms(ns - c.now) }

func (*clock) ms(ns int64) int {
	return int(max(0, (ns+int64(time.Millisecond)-1)/int64(time.Millisecond)))
}
