package upstream

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"anyport/conf"
)

var balances = []conf.Balance{conf.RoundRobin, conf.LeastConn, conf.Maglev}

// seeded returns a random generator whose seed the test logs.
func seeded(t *testing.T) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// weighted returns n upstreams with random weights up to most.
func weighted(rng *rand.Rand, n int, most int) []conf.Upstream {
	specs := literals(n)
	for i := range specs {
		specs[i].Weight = uint16(1 + rng.IntN(most))
	}
	return specs
}

// put takes a member out or in, or gives it a part of its share.
func put(g *Group, place int, share uint32) { g.Endpoints()[place].member.share.Store(share) }

// A connection that fails everywhere is given different endpoints, and no more than MaxAttempts.
func TestAttemptsAreDifferent(t *testing.T) {
	rng := seeded(t)
	for _, balance := range balances {
		for n := 1; n <= 9; n++ {
			g := NewGroup(weighted(rng, n, 9), balance)
			for range 100 {
				client, dst := randomPair(rng)
				list := attempts(g, client, dst)
				slices.Sort(list)
				if want := min(n, MaxAttempts); len(slices.Compact(list)) != want {
					t.Fatalf("%v: %d different endpoints of %d, want %d", balance, len(slices.Compact(list)), n, want)
				}
			}
		}
	}
}

// What is out gets nothing while something is in; backups get nothing while another member is in; and if all are out,
// all are tried, backups last.
func TestOutAndBackup(t *testing.T) {
	rng := seeded(t)
	for _, balance := range balances {
		specs := weighted(rng, 6, 5)
		specs[1].Backup, specs[4].Backup = true, true
		g := NewGroup(specs, balance)
		for range 2000 {
			var in [6]bool
			for i := range in {
				in[i] = rng.IntN(2) == 0
				put(g, i, 0)
				if in[i] {
					put(g, i, fullShare)
				}
			}
			client, dst := randomPair(rng)
			checkOrder(t, balance, specs, in[:], attempts(g, client, dst))
		}
	}
}

// checkOrder checks a connection's attempts against which members are in.
func checkOrder(t *testing.T, balance conf.Balance, specs []conf.Upstream, in []bool, got []string) {
	t.Helper()
	allOut := !slices.Contains(in, true)
	usable, backupSeen := 0, false
	for i, s := range specs {
		if !in[i] && !allOut {
			if slices.Contains(got, s.Place()) {
				t.Fatalf("%v: %s is out and is tried: in %v, order %v", balance, s.Place(), in, got)
			}
			continue
		}
		usable++
	}
	for _, place := range got {
		i := slices.IndexFunc(specs, func(s conf.Upstream) bool { return s.Place() == place })
		if backupSeen && !specs[i].Backup {
			t.Fatalf("%v: %s comes after a backup: in %v, order %v", balance, place, in, got)
		}
		backupSeen = backupSeen || specs[i].Backup
	}
	if len(got) != min(usable, MaxAttempts) {
		t.Fatalf("%v: %d attempts, want %d: in %v, order %v", balance, len(got), min(usable, MaxAttempts), in, got)
	}
}

// Each gets its weight's share: exactly in round robin, to a connection in least_conn, to a slot of the table and the
// luck of the hash in Maglev; and what one that is out would get, the others share by weight.
func TestShares(t *testing.T) {
	rng := seeded(t)
	for _, balance := range balances {
		for _, out := range []int{-1, 2} {
			specs := weighted(rng, 7, 9)
			g := NewGroup(specs, balance)
			total := 0
			for i, s := range specs {
				if i == out {
					put(g, i, 0)
				} else {
					total += int(s.Weight)
				}
			}
			const n = 40000
			count := make(map[string]int)
			for range n {
				client, dst := randomPair(rng)
				c := g.Begin(client, dst)
				count[g.Next(&c).String()]++ // the claims stay: least_conn goes by them
			}
			for i, s := range specs {
				want := float64(n) * float64(s.Weight) / float64(total)
				slack := 6*math.Sqrt(want) + n/maglevSlots*2
				if out < 0 && balance != conf.Maglev {
					slack = float64(total) // at most a round
				}
				if i == out {
					want, slack = 0, 0
				}
				if got := float64(count[s.Place()]); math.Abs(got-want) > slack {
					t.Errorf("%v, %d out: %s got %v of %d, want %.0f within %.0f", balance, out, s, got, n, want, slack)
				}
			}
		}
	}
}

// A round of round robin is spread: no endpoint comes twice while one of at least its weight waits.
func TestTurnsAreSpread(t *testing.T) {
	specs := literals(3)
	specs[0].Weight, specs[1].Weight, specs[2].Weight = 4, 2, 2
	g := NewGroup(specs, conf.RoundRobin)
	if got, want := fmt.Sprint(g.live.Load().tiers[0].slots), "[0 1 2 0]"; got != want {
		t.Errorf("the round of weights 4, 2, 2 is %s, want %s", got, want)
	}
}

// least_conn goes by the connections that are open, for its weight.
func TestLeastConn(t *testing.T) {
	specs := literals(3)
	specs[2].Weight = 3
	g := NewGroup(specs, conf.LeastConn)
	open := func(place, n int) { g.Endpoints()[place].member.active.Store(int64(n)) }
	for _, c := range []struct{ a, b, c, want int }{
		{5, 4, 15, 1}, {4, 5, 15, 0}, {4, 4, 13, 2}, {0, 0, 3, -1}, {9, 9, 0, 2}, {9, 9, 29, -1}, {9, 9, 28, 2},
	} {
		open(0, c.a)
		open(1, c.b)
		open(2, c.c)
		e := first(t, g, netip.AddrPort{}, netip.AddrPort{})
		if c.want >= 0 && e != &g.Endpoints()[c.want] {
			t.Errorf("open %v: chose %s", c, e)
		}
	}
}

// The shares of the table, whatever the weights: to two slots, those of one weight to one.
func TestMaglevTableShares(t *testing.T) {
	rng := seeded(t)
	for range 50 {
		n, most := 2+rng.IntN(255), 1+rng.IntN(4)
		specs := weighted(rng, n, most)
		g := NewGroup(specs, conf.Maglev)
		total, count := 0, make([]int, n)
		for _, s := range specs {
			total += int(s.Weight)
		}
		for _, place := range g.live.Load().tiers[0].slots {
			count[place]++
		}
		for i, s := range specs {
			want := maglevSlots * float64(s.Weight) / float64(total)
			if slack := float64(min(most, 2)); math.Abs(float64(count[i])-want) > slack {
				t.Errorf("%d endpoints, weight %d of %d: %d slots, want %.1f", n, s.Weight, total, count[i], want)
			}
		}
	}
}

// Two nodes choose alike, also what they try next, and also if they see different members out, as long as the client's
// own is not among them.
func TestMaglevNodesAgree(t *testing.T) {
	rng := seeded(t)
	specs := weighted(rng, 12, 4)
	node, other := NewGroup(specs, conf.Maglev), NewGroup(specs, conf.Maglev)
	for i := range specs {
		if rng.IntN(3) == 0 {
			put(other, i, 0)
		}
	}
	for range 20000 {
		client, dst := randomPair(rng)
		mine, theirs := attempts(node, client, dst), attempts(other, client, dst)
		if twin := attempts(node, client, dst); !slices.Equal(mine, twin) {
			t.Fatalf("one client, two orders: %v, %v", mine, twin)
		}
		if mine[0] != theirs[0] && slices.Contains(theirs, mine[0]) {
			t.Fatalf("the other node passes over %s: %v, %v", mine[0], mine, theirs)
		}
		isIn := func(place string) bool {
			i := slices.IndexFunc(specs, func(s conf.Upstream) bool { return s.Place() == place })
			return other.Endpoints()[i].member.share.Load() > 0
		}
		common := slices.DeleteFunc(slices.Clone(mine), func(p string) bool { return !isIn(p) })
		if !slices.Equal(common, theirs[:len(common)]) {
			t.Fatalf("the order of %v without what is out is %v", mine, theirs)
		}
	}
}

// An endpoint that goes takes little more with it than its own clients, however many there are: the sizes are those at
// which a table that grows with the group would be another one.
func TestMaglevDisruption(t *testing.T) {
	rng := seeded(t)
	for _, n := range []int{3, 4, 11, 41, 101, 256} {
		specs := literals(n)
		for i := range specs {
			specs[i].Weight = uint16(1 + rng.IntN(2))
		}
		gone := rng.IntN(n)
		before := NewGroup(specs, conf.Maglev)
		after := NewGroup(slices.Delete(slices.Clone(specs), gone, gone+1), conf.Maglev)
		const clients = 20000
		moved := 0
		for range clients {
			client, dst := randomPair(rng)
			was, is := attempts(before, client, dst)[0], attempts(after, client, dst)[0]
			if was != specs[gone].Place() && was != is {
				moved++
			}
		}
		t.Logf("%d endpoints: %.2f %% of the clients of others moved", n, 100*float64(moved)/clients)
		if moved > clients*disruption/100 {
			t.Errorf("%d endpoints, one goes: %d of %d clients of others moved", n, moved, clients)
		}
	}
}

// disruption is how many percent of the clients of other endpoints may move when one endpoint goes or comes.
const disruption = 6

// A member that is out moves nobody else's clients.
func TestMaglevOutMovesNobodyElse(t *testing.T) {
	rng := seeded(t)
	g := NewGroup(weighted(rng, 5, 3), conf.Maglev)
	for range 5000 {
		client, dst := randomPair(rng)
		was := attempts(g, client, dst)[0]
		put(g, 3, 0)
		is := attempts(g, client, dst)[0]
		put(g, 3, fullShare)
		if was != is && was != g.Endpoints()[3].String() {
			t.Fatalf("a client of %s moved to %s", was, is)
		}
	}
}

// A member with a part of its share gets that part: of its own clients in Maglev, of its turns or connections otherwise.
func TestPartOfAShare(t *testing.T) {
	rng := seeded(t)
	for _, balance := range balances {
		g := NewGroup(literals(4), balance)
		put(g, 1, fullShare/4)
		const n = 26000
		got := 0
		for range n {
			client, dst := randomPair(rng)
			c := g.Begin(client, dst)
			if e := g.Next(&c); e == &g.Endpoints()[1] {
				got++
			}
		}
		want := n / 13
		if balance == conf.Maglev {
			want = n / 16
		}
		if got < want*8/10 || got > want*12/10 {
			t.Errorf("%v: a quarter of a share is %d of %d, want about %d", balance, got, n, want)
		}
	}
}

// A slow start does not leave connections without an endpoint.
func TestPartOfAShareAlone(t *testing.T) {
	for _, balance := range balances {
		g := NewGroup(literals(2), balance)
		put(g, 0, 1)
		put(g, 1, 0)
		rng := seeded(t)
		for range 1000 {
			client, dst := randomPair(rng)
			if e := first(t, g, client, dst); e != &g.Endpoints()[0] {
				t.Fatalf("%v: %s is out and is chosen", balance, e)
			}
		}
	}
}

func TestChoiceAllocatesNothing(t *testing.T) {
	c, d := randomPair(rand.New(rand.NewPCG(5, 6)))
	for _, balance := range balances {
		g := NewGroup(literals(3), balance)
		put(g, 1, 0)
		if n := testing.AllocsPerRun(100, func() {
			choice := g.Begin(c, d)
			for e := g.Next(&choice); e != nil; e = g.Next(&choice) {
				g.Member(e.Member().Number()).Release()
			}
		}); n != 0 {
			t.Errorf("%v: %v allocations for a choice, want 0", balance, n)
		}
	}
}

func BenchmarkChoice(b *testing.B) {
	client, dst := randomPair(rand.New(rand.NewPCG(5, 6)))
	for _, n := range []int{1, 3, 32, 256} {
		specs := literals(n)
		for _, balance := range balances {
			b.Run(fmt.Sprintf("%v/%d", balance, n), func(b *testing.B) {
				g := NewGroup(specs, balance)
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						c := g.Begin(client, dst)
						g.Next(&c).Member().Release()
					}
				})
			})
		}
	}
}

// TestSameEndpointsAgain makes the group of a reload that changes nothing about the upstreams.
func TestSameEndpointsAgain(t *testing.T) {
	route := conf.Route{Name: "web", Upstreams: []conf.Upstream{{Addr: netip.MustParseAddr("127.0.0.1")}}}
	pool := NewPool(nil)
	before := pool.Group(&route)
	before.Use(before.resolve(nil, make(routedSources)))
	after := pool.Group(&route)
	after.Use(after.resolve(nil, make(routedSources)))
	choice := after.Begin(netip.AddrPort{}, netip.AddrPort{})
	if after.Next(&choice) == nil {
		t.Error("the group has nothing to choose")
	}
}
