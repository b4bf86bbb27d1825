package tcp

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestTimerWheel holds the wheel against plain deadlines over random starts, stops and turns, some of them longer than
// the wheel.
func TestTimerWheel(t *testing.T) {
	const seed = 7
	rng := rand.New(rand.NewPCG(seed, seed))
	s := newSlab()
	w := timerWheel{slab: &s}
	now := ^tick(5000) // the clock wraps on the way
	w.turned = now
	due := make(map[*conn]tick)
	var conns []*conn
	for range 300 {
		conns = append(conns, s.get())
	}
	for range 20000 {
		switch c := conns[rng.IntN(len(conns))]; rng.IntN(4) {
		case 0:
			w.stop(c)
			delete(due, c)
		case 1:
			now += tick(rng.IntN(1 << rng.IntN(14)))
			w.turn(now, func(c *conn) { fired(t, &w, due, c, now) })
			checkNoneLate(t, due, now)
		default:
			due[c] = now + tick(rng.IntN(1<<rng.IntN(15)))
			w.start(c, due[c])
		}
		checkNext(t, &w, due)
	}
}

// fired does what an engine does: a timer that is early is set again.
func fired(t *testing.T, w *timerWheel, due map[*conn]tick, c *conn, now tick) {
	at, set := due[c]
	switch {
	case !set:
		t.Fatal("a stopped timer fired")
	case now.before(at):
		w.start(c, at)
	default:
		delete(due, c)
	}
}

func checkNoneLate(t *testing.T, due map[*conn]tick, now tick) {
	for _, at := range due {
		if at != now && at.before(now) {
			t.Fatalf("a timer for %d has not fired at %d", at, now)
		}
	}
}

func checkNext(t *testing.T, w *timerWheel, due map[*conn]tick) {
	next, any := w.next()
	if any != (len(due) > 0) {
		t.Fatalf("%d timers, next says %v", len(due), any)
	}
	for _, at := range due {
		if at.before(next) && !at.before(w.turned+1) {
			t.Fatalf("next is %d, a timer is due at %d", next, at)
		}
	}
}

func TestTicks(t *testing.T) {
	for d, want := range map[time.Duration]tick{
		0:                     0,
		time.Nanosecond:       2,
		16 * time.Millisecond: 2,
		time.Second:           61,
		1 << 62:               1 << 30,
	} {
		if got := ticks(d); got != want {
			t.Errorf("%s: %d ticks, want %d", d, got, want)
		}
	}
	for _, d := range []time.Duration{1, 1e6, 3e7, 5e9} {
		if surely := time.Duration(ticks(d)-1) << tickBits; surely < d {
			t.Errorf("%s may end after %s", d, surely)
		}
	}
}

func TestClockWaitsLongEnough(t *testing.T) {
	c := clock{now: 100<<tickBits + 12345}
	ms := c.untilTick(101)
	c.now += int64(ms) * int64(time.Millisecond)
	if c.tick() != 101 || ms > 17 {
		t.Errorf("%d ms wait, then tick %d", ms, c.tick())
	}
	if ms := c.untilTick(90); ms != 0 {
		t.Errorf("%d ms until a tick that has been", ms)
	}
}
