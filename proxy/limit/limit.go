// Package limit bounds how many connections or flows are open at once: of all of a kind with a [Gate], of each network
// of sources with [Sources]. Both are exact under concurrent use and allocate nothing but memory for more networks than
// ever before, which they keep.
//
// Whoever is admitted leaves again, exactly once. Neither type queues: who is not admitted is refused.
package limit

import "sync/atomic"

// Gate counts what is open. The zero value has nothing open.
type Gate struct{ open atomic.Int64 }

// Enter admits one more, unless most are open already; 0 is no limit. Each success needs a Leave. The limit may be
// another one each time: lowered, it admits nothing until enough have left.
func (g *Gate) Enter(most int) bool {
	for {
		n := g.open.Load()
		if most > 0 && n >= int64(most) {
			return false
		}
		if g.open.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// Leave takes one out that Enter has admitted.
func (g *Gate) Leave() { g.open.Add(-1) }

// Open returns how many are open.
func (g *Gate) Open() int { return int(g.open.Load()) }
