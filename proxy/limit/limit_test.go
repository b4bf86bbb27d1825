package limit

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

func TestGate(t *testing.T) {
	var g Gate
	if !g.Enter(0) || !g.Enter(2) || g.Enter(2) || g.Enter(1) || !g.Enter(0) || g.Open() != 3 {
		t.Fatalf("%d are open", g.Open())
	}
	g.Leave()
	g.Leave()
	if g.Enter(1) || !g.Enter(2) || g.Open() != 2 {
		t.Errorf("%d are open", g.Open())
	}
}

// With as many who want in as there are places, nobody is ever refused; with one more, there are never too many inside.
func TestGateIsExact(t *testing.T) {
	for _, spare := range []int{0, 1} {
		var g Gate
		exact(t, 8, 8-spare, g.Enter, g.Leave)
		if g.Open() != 0 {
			t.Errorf("%d are still open", g.Open())
		}
	}
}

// exact has guests enter and leave, each by itself, and checks that never more than most are inside and that none is
// refused if all of them may be.
func exact(t *testing.T, guests, most int, enter func(most int) bool, leave func()) {
	t.Helper()
	var inside, refused atomic.Int64
	var all sync.WaitGroup
	for range guests {
		all.Go(func() {
			for i := range 100_000 {
				if !enter(most) {
					refused.Add(1)
					continue
				}
				if i%16 == 0 {
					runtime.Gosched()
				}
				if n := inside.Add(1); n > int64(most) {
					t.Errorf("%d are inside, %d may be", n, most)
				}
				inside.Add(-1)
				leave()
			}
		})
	}
	all.Wait()
	if n := refused.Load(); n > 0 && most >= guests {
		t.Errorf("%d of %d guests may be inside, %d were refused", most, guests, n)
	}
}
