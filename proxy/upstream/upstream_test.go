package upstream

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"anyport/conf"
)

func literal(s string) conf.Upstream { return conf.Upstream{Addr: netip.MustParseAddr(s)} }

func literals(n int) []conf.Upstream {
	specs := make([]conf.Upstream, n)
	for i := range specs {
		specs[i] = literal(fmt.Sprintf("127.0.1.%d", i+1))
	}
	return specs
}

func randomPair(rng *rand.Rand) (client, dst netip.AddrPort) {
	addr := func() netip.Addr {
		var b [16]byte
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		if rng.IntN(2) == 0 {
			return netip.AddrFrom4([4]byte(b[:4]))
		}
		return netip.AddrFrom16(b)
	}
	return netip.AddrPortFrom(addr(), uint16(rng.Uint32())), netip.AddrPortFrom(addr(), uint16(rng.Uint32()))
}

func TestDialPort(t *testing.T) {
	for _, c := range []struct {
		spec conf.Upstream
		want uint16
	}{
		{conf.Upstream{}, 4242},
		{conf.Upstream{Port: 80}, 80},
		{conf.Upstream{Offset: 1000}, 5242},
	} {
		c.spec.Addr = netip.MustParseAddr("::1")
		e, ok := NewGroup([]conf.Upstream{c.spec}, conf.RoundRobin).Endpoint(0, 0)
		if want := netip.AddrPortFrom(c.spec.Addr, c.want); !ok || e.Dial(4242) != want {
			t.Errorf("%+v: dial %v, %v, want %v", c.spec, e.Dial(4242), ok, want)
		}
	}
}

func TestSourceIsTheRoutedOne(t *testing.T) {
	e, _ := NewGroup([]conf.Upstream{literal("127.9.9.9")}, conf.Maglev).Endpoint(0, 0)
	if want := netip.MustParseAddr("127.0.0.1"); e.Source != want {
		t.Errorf("source towards 127.9.9.9 = %v, want %v", e.Source, want)
	}
}

func TestEveryEndpointIsTriedOnce(t *testing.T) {
	for _, balance := range []conf.Balance{conf.RoundRobin, conf.Maglev} {
		g := NewGroup(literals(5), balance)
		rng := rand.New(rand.NewPCG(1, 2))
		for range 100 {
			start := g.Start(randomPair(rng))
			seen := make(map[netip.Addr]bool)
			for attempt := 0; ; attempt++ {
				e, ok := g.Endpoint(start, attempt)
				if !ok {
					break
				}
				seen[e.Addr] = true
			}
			if len(seen) != 5 {
				t.Fatalf("balance %d: tried %d of 5 endpoints", balance, len(seen))
			}
		}
	}
}

func TestRoundRobinTakesTurns(t *testing.T) {
	g := NewGroup(literals(3), conf.RoundRobin)
	count := make(map[netip.Addr]int)
	for range 300 {
		e, _ := g.Endpoint(g.Start(netip.AddrPort{}, netip.AddrPort{}), 0)
		count[e.Addr]++
	}
	for a, n := range count {
		if n != 100 {
			t.Errorf("%v was chosen %d times of 300, want 100", a, n)
		}
	}
}

// Maglev's properties: the shares are even, two nodes agree, and removing one endpoint moves few others' clients.
func TestMaglev(t *testing.T) {
	const n, clients = 10, 20000
	all, twin := NewGroup(literals(n), conf.Maglev), NewGroup(literals(n), conf.Maglev)
	fewer := NewGroup(literals(n)[:n-1], conf.Maglev)
	gone := literals(n)[n-1].Addr
	rng := rand.New(rand.NewPCG(3, 4))
	count := make(map[netip.Addr]int)
	moved := 0
	for range clients {
		c, d := randomPair(rng)
		e, _ := all.Endpoint(all.Start(c, d), 0)
		count[e.Addr]++
		if e2, _ := twin.Endpoint(twin.Start(c, d), 0); e2.Addr != e.Addr {
			t.Fatalf("two nodes choose %v and %v for one client", e.Addr, e2.Addr)
		}
		if e3, _ := fewer.Endpoint(fewer.Start(c, d), 0); e.Addr != gone && e3.Addr != e.Addr {
			moved++
		}
	}
	for a, got := range count {
		if got < clients/n*8/10 || got > clients/n*12/10 {
			t.Errorf("%v got %d of %d clients, want about %d", a, got, clients, clients/n)
		}
	}
	if moved > clients/20 {
		t.Errorf("%d of %d clients of other endpoints moved, want at most 5 %%", moved, clients)
	}
}

func TestResolveKeepsLastGood(t *testing.T) {
	g := NewGroup([]conf.Upstream{{Name: "a.test", Port: 1}, literal("127.0.0.9")}, conf.RoundRobin)
	if got := len(g.Endpoints()); got != 1 {
		t.Fatalf("before the first look-up: %d endpoints, want the literal one", got)
	}
	var fail error
	lookup := func(_ context.Context, network, host string) ([]netip.Addr, error) {
		if network != "ip" || host != "a.test" {
			t.Errorf("look-up of %q %q", network, host)
		}
		return []netip.Addr{netip.MustParseAddr("::1"), netip.MustParseAddr("::ffff:127.0.0.8")}, fail
	}
	refresh := func() error {
		fresh, err := Resolve(t.Context(), lookup, []*Group{g})
		g.Use(fresh[0])
		return err
	}
	want := []string{"127.0.0.8", "::1", "127.0.0.9"}
	check := func(when string) {
		t.Helper()
		var got []string
		for _, e := range g.Endpoints() {
			got = append(got, e.Addr.String())
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: endpoints %v, want %v", when, got, want)
		}
	}
	if err := refresh(); err != nil {
		t.Fatal(err)
	}
	check("after the first look-up")
	fail = errors.New("server down")
	if err := refresh(); !errors.Is(err, fail) {
		t.Errorf("error = %v, want it to wrap %v", err, fail)
	}
	check("after a look-up that failed")
}

func TestEmptyGroup(t *testing.T) {
	g := NewGroup([]conf.Upstream{{Name: "never.test"}}, conf.Maglev)
	if e, ok := g.Endpoint(g.Start(netip.AddrPort{}, netip.AddrPort{}), 0); ok {
		t.Errorf("endpoint %v of a group without any", e)
	}
}

func TestPickAllocatesNothing(t *testing.T) {
	g := NewGroup(literals(3), conf.Maglev)
	c, d := randomPair(rand.New(rand.NewPCG(5, 6)))
	if n := testing.AllocsPerRun(100, func() { g.Endpoint(g.Start(c, d), 0) }); n != 0 {
		t.Errorf("%v allocations for a choice, want 0", n)
	}
}
