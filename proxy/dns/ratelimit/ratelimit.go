// Package ratelimit limits how many like responses go to one network, so that forged queries cannot turn the server
// into an amplifier. It is the scheme known as response rate limiting (Vixie and Schryver, "DNS Response Rate
// Limiting", 2012): of the responses past the limit, most are dropped, and one in a few is sent truncated, so that an
// honest client among the victims still gets through by TCP.
package ratelimit

import (
	"hash/maphash"
	"net/netip"
	"sync/atomic"
	"time"
)

// Options says what is limited. The zero value limits nothing.
type Options struct {
	PerSecond int // like responses to one network; 0: no limit
	Slip      int // of the limited responses, one in so many is sent truncated; 0: none, 1: all
	Slots     int // networks and responses remembered at once; 0: DefaultSlots
}

// DefaultSlots takes 8 MiB, a page at a time as they are used.
const DefaultSlots = 1 << 20

// Networks that count as one client: what one customer holds at most, as BIND, NSD and Knot have it.
const (
	prefix4 = 24
	prefix6 = 56
)

// Limiter counts. It is safe for concurrent use and allocates nothing.
//
// Each slot is one key's state in a word that is changed by compare-and-swap: a tag of the key, and the time at which
// the key's budget is whole again (the generic cell rate algorithm: a response moves that time on by an interval, and
// is over the limit if it lies further ahead than a second's worth). Times count microseconds modulo 2^32.
type Limiter struct {
	slots    []atomic.Uint64
	mask     uint64
	seed     maphash.Seed
	interval uint32 // microseconds that one response costs
	slip     uint64
	limited  atomic.Uint64
}

// ways is how many slots a key may choose from; of those that are taken it replaces the one closest to idle.
const ways = 4

// burst is how much may be spent at once: what a second allows, in microseconds.
const burst = uint32(time.Second / time.Microsecond)

// New returns a limiter, or nil if there is no limit; a nil Limiter allows everything.
func New(o Options) *Limiter {
	if o.PerSecond <= 0 {
		return nil
	}
	want := o.Slots
	if want <= 0 {
		want = DefaultSlots
	}
	n := ways
	for n < want {
		n *= 2
	}
	return &Limiter{
		slots: make([]atomic.Uint64, n), mask: uint64(n-1) &^ (ways - 1), seed: maphash.MakeSeed(),
		interval: max(burst/uint32(min(o.PerSecond, int(burst))), 1), slip: uint64(max(o.Slip, 0)),
	}
}

// Verdict is what to do with a response.
type Verdict uint8

const (
	Send     Verdict = iota
	Truncate         // send it empty, with TC set
	Drop
)

// Key is what makes responses alike.
type Key struct {
	Client  netip.Addr
	Outcome uint8  // the kind of response
	Type    uint16 // of the question, where the response depends on it
	Name    []byte // what the response is about
}

// Check counts a response at a time on any clock that does not go backwards.
func (l *Limiter) Check(k Key, now time.Duration) Verdict {
	if l == nil || l.allow(l.hash(k), uint32(now.Microseconds())) {
		return Send
	}
	n := l.limited.Add(1)
	if l.slip > 0 && n%l.slip == 0 {
		return Truncate
	}
	return Drop
}

func (l *Limiter) hash(k Key) uint64 {
	var b [16 + 3]byte
	a := k.Client.As16()
	keep := prefix6 / 8
	if k.Client.Unmap().Is4() {
		keep = (96 + prefix4) / 8
	}
	copy(b[:], a[:keep])
	b[16], b[17], b[18] = k.Outcome, byte(k.Type>>8), byte(k.Type)
	const odd = 0x9E3779B97F4A7C15 // 2^64 divided by the golden ratio: spreads one hash before the other is added
	return maphash.Bytes(l.seed, b[:])*odd + maphash.Bytes(l.seed, k.Name)
}

// allow spends one response of a key's budget, or reports that it is used up.
func (l *Limiter) allow(hash uint64, now uint32) bool {
	tag := uint32(hash >> 32)
	for {
		slot, old := l.slot(hash&l.mask, tag, now)
		whole := now
		if uint32(old>>32) == tag && ahead(uint32(old), now) > 0 {
			whole = uint32(old)
		}
		if ahead(whole, now) > int64(burst)-int64(l.interval) {
			return false
		}
		if slot.CompareAndSwap(old, uint64(tag)<<32|uint64(whole+l.interval)) {
			return true
		}
	}
}

// slot returns the slot of a key and its state: its own, or else the one whose budget is whole the soonest.
func (l *Limiter) slot(first uint64, tag, now uint32) (*atomic.Uint64, uint64) {
	var best *atomic.Uint64
	var state uint64
	soonest := int64(1) << 33
	for i := range uint64(ways) {
		s := &l.slots[first+i]
		v := s.Load()
		if uint32(v>>32) == tag {
			return s, v
		}
		if a := ahead(uint32(v), now); a < soonest {
			best, state, soonest = s, v, a
		}
	}
	return best, state
}

// ahead returns by how many microseconds t lies ahead of now. No budget lies further ahead than a burst: a time that
// seems to is one that passed long ago.
func ahead(t, now uint32) int64 {
	if d := t - now; d <= 2*burst {
		return int64(d)
	}
	return 0
}
