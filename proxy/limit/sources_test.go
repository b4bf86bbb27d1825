package limit

import (
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
)

func TestNetworks(t *testing.T) {
	tests := []struct {
		bits4, bits6 int
		a, b         string
		same         bool
	}{
		{32, 64, "192.0.2.1", "192.0.2.1", true},
		{32, 64, "192.0.2.1", "::ffff:192.0.2.1", true},
		{32, 64, "192.0.2.1", "192.0.2.2", false},
		{24, 64, "192.0.2.1", "192.0.2.255", true},
		{23, 64, "192.0.2.1", "192.0.3.255", true},
		{23, 64, "192.0.2.1", "192.0.4.1", false},
		{0, 64, "192.0.2.1", "10.0.0.1", true},
		{32, 64, "2001:db8::1", "2001:db8::ffff:0:0:1", true},
		{32, 64, "2001:db8::1", "2001:db8:0:1::1", false},
		{32, 61, "2001:db8::1", "2001:db8:0:7::1", true},
		{32, 61, "2001:db8::1", "2001:db8:0:8::1", false},
		{32, 128, "2001:db8::1", "2001:db8::2", false},
		{32, 0, "2001:db8::1", "fd00::1", true},
	}
	for _, test := range tests {
		s := NewSources(1, test.bits4, test.bits6)
		if !s.Enter(netip.MustParseAddr(test.a)) {
			t.Fatal("the first one is refused")
		}
		if same := !s.Enter(netip.MustParseAddr(test.b)); same != test.same {
			t.Errorf("/%d and /%d: %s and %s of one network: %v", test.bits4, test.bits6, test.a, test.b, same)
		}
	}
}

func TestNoLimit(t *testing.T) {
	s := NewSources(0, 32, 64)
	a := netip.MustParseAddr("192.0.2.1")
	if s != nil || !s.Enter(a) || s.Networks() != 0 {
		t.Error("a limit where there is none")
	}
	s.Leave(a)
}

// TestSources holds the table against a map, while the number of networks rises and falls.
func TestSources(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	const most = 3
	s := NewSources(most, 24, 64)
	open := make(map[netip.Addr]int)
	var inside []netip.Addr
	for step := range 200_000 {
		rising := step/20_000%2 == 0
		if len(inside) > 0 && rng.IntN(10) < 4 == rising {
			i := rng.IntN(len(inside))
			a := inside[i]
			inside[i] = inside[len(inside)-1]
			inside = inside[:len(inside)-1]
			s.Leave(neighbour(rng, a))
			if open[a]--; open[a] == 0 {
				delete(open, a)
			}
		} else if a := someNetwork(rng); s.Enter(neighbour(rng, a)) != (open[a] < most) {
			t.Fatalf("step %d: wrong answer to %s with %d open", step, a, open[a])
		} else if open[a] < most {
			open[a]++
			inside = append(inside, a)
		}
		if step%1000 == 0 && s.Networks() != len(open) {
			t.Fatalf("step %d: %d networks, want %d", step, s.Networks(), len(open))
		}
	}
	for _, a := range inside {
		s.Leave(a)
	}
	if n := s.Networks(); n != 0 {
		t.Errorf("%d networks are left", n)
	}
}

// someNetwork returns the first address of one of 8192 networks, of either family.
func someNetwork(rng *rand.Rand) netip.Addr {
	i, j := byte(rng.IntN(16)), byte(rng.IntN(256))
	if rng.IntN(2) == 0 {
		return netip.AddrFrom4([4]byte{10, i, j, 0})
	}
	return netip.AddrFrom16([16]byte{0: 0x20, 1: 0x01, 6: i, 7: j})
}

// neighbour returns an address of the same network.
func neighbour(rng *rand.Rand, a netip.Addr) netip.Addr {
	b := a.As16()
	b[15] = byte(rng.IntN(256))
	return netip.AddrFrom16(b)
}

func TestSourcesAreExact(t *testing.T) {
	a := netip.MustParseAddr("192.0.2.1")
	for _, most := range []int{8, 7} {
		s := NewSources(most, 32, 64)
		exact(t, 8, most, func(int) bool { return s.Enter(a) }, func() { s.Leave(a) })
		if n := s.Networks(); n != 0 {
			t.Errorf("%d networks are left", n)
		}
	}
}

// Many networks at once, from many goroutines: each gets exactly what it may have.
func TestSourcesConcurrently(t *testing.T) {
	const most = 2
	s := NewSources(most, 32, 64)
	var all sync.WaitGroup
	for g := range 8 {
		all.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(g), 0))
			for range 20_000 {
				a := netip.AddrFrom4([4]byte{10, byte(g), byte(rng.IntN(4)), byte(rng.IntN(256))})
				admitted := 0
				for s.Enter(a) {
					admitted++
				}
				if admitted != most {
					t.Errorf("%s has %d places, want %d", a, admitted, most)
				}
				for range admitted {
					s.Leave(a)
				}
			}
		})
	}
	all.Wait()
	if n := s.Networks(); n != 0 {
		t.Errorf("%d networks are left", n)
	}
}

// In a table whose networks all want the same few entries, none is lost when others leave.
func TestTableCollisions(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var tb table
	hash := func(k byte) uint32 { return uint32(k%3) - 1 } // the last entry and the first two
	inside := make(map[byte]bool)
	for range 20_000 {
		k := byte(rng.IntN(40))
		e := tb.at(&[16]byte{k}, hash(k))
		if (e.open != 0) != inside[k] {
			t.Fatalf("network %d is inside: %v", k, e.open != 0)
		}
		if inside[k] {
			e.open = 0
			tb.remove(e)
			delete(inside, k)
		} else {
			e.open = 1
			tb.added()
			inside[k] = true
		}
		if tb.used != len(inside) {
			t.Fatalf("%d entries, want %d", tb.used, len(inside))
		}
	}
}

// Once there has been room for that many networks, counting allocates nothing.
func TestSourcesNoAllocation(t *testing.T) {
	s := NewSources(10, 32, 64)
	churn := func() {
		for i := range 1000 {
			s.Enter(netip.AddrFrom16([16]byte{0x20, 6: byte(i >> 8), 7: byte(i)}))
		}
		for i := range 1000 {
			s.Leave(netip.AddrFrom16([16]byte{0x20, 6: byte(i >> 8), 7: byte(i)}))
		}
	}
	if n := testing.AllocsPerRun(20, churn); n != 0 {
		t.Errorf("%v allocations in 1000 connections", n)
	}
}

func BenchmarkSources(b *testing.B) {
	s := NewSources(10, 32, 64)
	b.RunParallel(func(pb *testing.PB) {
		rng := rand.New(rand.NewPCG(rand.Uint64(), 0))
		for pb.Next() {
			n := rng.Uint32()
			a := netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})
			if s.Enter(a) {
				s.Leave(a)
			}
		}
	})
}

// Whoever leaves without having been admitted makes no room for others.
func TestLeaveOfNobody(t *testing.T) {
	s := NewSources(1, 32, 64)
	for _, src := range []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")} {
		s.Leave(src)
		if n := s.Networks(); n != 0 {
			t.Errorf("%d networks have something open", n)
		}
		if !s.Enter(src) || s.Enter(src) {
			t.Errorf("%s is not held to one", src)
		}
		s.Leave(src)
	}
}
