package rule

import (
	"math/bits"
	"slices"
)

// runs stores runs of T end to end in one array, each distinct run once. It is what keeps a table small: an allow list
// of 1,000 sources on 50 rules, or one rule on 1,000 prefixes, is stored once.
type runs[T comparable] struct {
	what   string // for budget.exceed
	limit  int    // of len(items)
	hash   func(T) uint64
	items  []T
	seen   map[uint64]List
	budget *budget
}

func newRuns[T comparable](b *budget, what string, limit int, hash func(T) uint64) *runs[T] {
	return &runs[T]{what: what, limit: limit, hash: hash, seen: make(map[uint64]List), budget: b}
}

// add returns where run lies, and whether it was there before. Past the limit it stores nothing, tells the budget, and
// returns the empty List.
func (r *runs[T]) add(run []T) (l List, found bool) {
	key := r.key(run)
	for ; ; key++ { // two runs of one key: the next free number is the key of the second
		l, found = r.seen[key]
		if !found {
			break
		}
		if slices.Equal(r.at(l), run) {
			return l, true
		}
	}
	if len(r.items)+len(run) > r.limit {
		r.budget.exceed(r.what, r.limit)
		return List{}, false
	}
	l = List{Offset: uint32(len(r.items)), Len: uint32(len(run))}
	r.items = append(r.items, run...)
	r.seen[key] = l
	return l, false
}

// at returns the run at l.
func (r *runs[T]) at(l List) []T { return r.items[l.Offset : l.Offset+l.Len] }

func (r *runs[T]) key(run []T) uint64 {
	h := uint64(len(run))
	for _, item := range run {
		h = mix(h ^ r.hash(item))
	}
	return h
}

// mix spreads every bit of x over the result: the two halves of a 128-bit product with an odd constant (wyhash).
func mix(x uint64) uint64 {
	high, low := bits.Mul64(x^0xa0761d6478bd642f, 0xe7037ed1a0b428db)
	return high ^ low
}

// number is the hash of runs of numbers.
func number[T ~int32 | ~uint32](n T) uint64 { return uint64(n) }
