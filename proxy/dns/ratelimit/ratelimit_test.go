package ratelimit

import (
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func key(client, name string) Key {
	return Key{Client: netip.MustParseAddr(client), Name: []byte(name), Outcome: 1, Type: 1}
}

// spend asks n times at one moment and returns how many responses were sent whole.
func spend(l *Limiter, k Key, n int, at time.Duration) (sent int) {
	for range n {
		if l.Check(k, at) == Send {
			sent++
		}
	}
	return sent
}

func TestLimit(t *testing.T) {
	l := New(Options{PerSecond: 10})
	k := key("192.0.2.1", "a")
	for _, c := range []struct {
		at   time.Duration
		want int
	}{
		{time.Hour, 10}, // the first second's worth at once
		{time.Hour + 50*time.Millisecond, 0},
		{time.Hour + 100*time.Millisecond, 1},
		{time.Hour + 600*time.Millisecond, 5},
		{time.Hour + 10*time.Second, 10}, // no more than a second's worth is saved up
		{5000 * time.Second, 10},         // the clock has wrapped once
		{5001 * time.Second, 10},
	} {
		if got := spend(l, k, 100, c.at); got != c.want {
			t.Errorf("at %v: %d sent, want %d", c.at, got, c.want)
		}
	}
}

// What counts as like: the same network, kind, type and name.
func TestKeys(t *testing.T) {
	l := New(Options{PerSecond: 5})
	base := key("192.0.2.1", "a")
	spend(l, base, 100, 0)
	other := func(change func(*Key)) Key {
		k := base
		change(&k)
		return k
	}
	for name, c := range map[string]struct {
		key  Key
		want int
	}{
		"same /24":      {key("192.0.2.200", "a"), 0},
		"mapped":        {key("::ffff:192.0.2.1", "a"), 0},
		"other /24":     {key("192.0.3.1", "a"), 5},
		"other name":    {key("192.0.2.1", "b"), 5},
		"other outcome": {other(func(k *Key) { k.Outcome = 2 }), 5},
		"other type":    {other(func(k *Key) { k.Type = 2 }), 5},
		"IPv6":          {key("2001:db8:0:100::1", "a"), 5},
		"same /56":      {key("2001:db8:0:1ff::1", "b"), 5},
	} {
		if got := spend(l, c.key, 100, 0); got != c.want {
			t.Errorf("%s: %d sent, want %d", name, got, c.want)
		}
	}
	if got := spend(l, key("2001:db8:0:1aa::2", "a"), 10, 0); got != 0 {
		t.Errorf("the same /56: %d sent", got)
	}
}

func TestSlip(t *testing.T) {
	for slip, want := range map[int]int{0: 0, 1: 100, 2: 50, 10: 10} {
		l := New(Options{PerSecond: 1, Slip: slip})
		k := key("192.0.2.1", "a")
		l.Check(k, 0)
		truncated := 0
		for range 100 {
			if l.Check(k, 0) == Truncate {
				truncated++
			}
		}
		if truncated != want {
			t.Errorf("slip %d: %d of 100 truncated", slip, truncated)
		}
	}
}

func TestNoLimit(t *testing.T) {
	if got := spend(New(Options{}), key("192.0.2.1", "a"), 1000, 0); got != 1000 {
		t.Errorf("%d sent", got)
	}
}

// When more keys are at work than there are slots, none is held back by the others' budgets.
func TestCrowded(t *testing.T) {
	l := New(Options{PerSecond: 10, Slots: 16})
	for i := range 1000 {
		if got := spend(l, key("192.0.2.1", fmt.Sprint(i)), 3, 0); got == 0 {
			t.Fatalf("key %d: nothing sent", i)
		}
	}
}

// Workers that share a key share its budget.
func TestConcurrent(t *testing.T) {
	l := New(Options{PerSecond: 1000})
	var sent atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { sent.Add(int64(spend(l, key("192.0.2.1", "a"), 1000, 0))) })
	}
	wg.Wait()
	if sent.Load() != 1000 {
		t.Errorf("%d sent", sent.Load())
	}
}

func TestCheckAllocatesNothing(t *testing.T) {
	l := New(Options{PerSecond: 1})
	k := key("192.0.2.1", "a")
	if n := testing.AllocsPerRun(100, func() { l.Check(k, 0) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkCheck(b *testing.B) {
	l := New(Options{PerSecond: 1000})
	k := key("192.0.2.1", "www.example.test")
	for i := range b.N {
		l.Check(k, time.Duration(i)*time.Microsecond)
	}
}
