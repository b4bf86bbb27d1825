package steering

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"anyport/conf/rule"
	"anyport/conf/rule/ruletest"
)

// newSeed returns a fresh seed, or that of SEED in the environment, and logs it.
func newSeed(t *testing.T) uint64 {
	t.Helper()
	seed := rand.Uint64()
	if text := os.Getenv("SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 0, 64); err != nil {
			t.Fatalf("SEED: %v", err)
		}
	}
	t.Logf("SEED=%#x", seed)
	return seed
}

// TestOracle holds the kernel's program against a linear match and the compiled table: the same verdict, by the same
// rule, for the same service.
func TestOracle(t *testing.T) {
	const sets, packets = 1000, 100
	w := newWorld(t)
	s := w.load()
	fillServices(w, s)
	rng := newRand(t)
	seen := make(map[string]int)
	for n := range sets {
		table := compile(t, ruletest.Random(rng))
		if _, err := s.Publish(table); err != nil {
			t.Fatalf("set %d: %v", n, err)
		}
		twin, err := s.Twin()
		if err != nil {
			t.Fatalf("set %d: %v", n, err)
		}
		for range packets {
			checkAnswer(t, rng, table, twin, seen)
		}
		if err := twin.Close(); err != nil {
			t.Fatal(err)
		}
		if t.Failed() {
			t.Fatalf("set %d:\n%+v", n, table.Set())
		}
	}
	t.Logf("decided by: %v", seen)
	for _, kind := range []string{
		"refuse", "pass", "steer", "(sealed)", "(open)", "(outside)", "tcp", "udp", "v4", "v6",
	} {
		if seen[kind] < sets*packets/200 {
			t.Errorf("%s decided %d packets of %d: the generators miss it", kind, seen[kind], sets*packets)
		}
	}
}

// fillServices gives every service of the random sets a TCP and a UDP socket.
func fillServices(w *world, s *Steering) {
	for service := range uint16(ruletest.Services) {
		assign(w.t, s, service, rule.TCP, w.listen(home))
		assign(w.t, s, service, rule.UDP, w.listenPacket(home))
	}
}

// checkAnswer asks about one random packet and counts what decided about it.
func checkAnswer(t *testing.T, rng *rand.Rand, table *rule.Table, twin *Twin, seen map[string]int) {
	t.Helper()
	set := table.Set()
	p, src, dst := ruletest.Packet(rng, set)
	want := ruletest.Naive(set, p, src, dst)
	if got := table.Lookup(p, src, dst); got != want {
		t.Fatalf("%s %s -> %s: table says %+v, want %+v", p, src, dst, got, want)
	}
	got, err := twin.Ask(p, src, dst)
	if err != nil {
		t.Fatalf("%s %s -> %s: %v", p, src, dst, err)
	}
	by := rule.NoService
	if want.Verdict == rule.Steer {
		by = set.Rules[want.Rule].Service
	}
	if got.Verdict != want.Verdict || got.Rule.Name != set.RuleName(want.Rule) || got.By != by {
		t.Errorf("%s %s -> %s: kernel says %+v, want %s by %s for service %d",
			p, src, dst, got, want.Verdict, set.RuleName(want.Rule), by)
	}
	if (got.Cookie != 0) != (want.Verdict == rule.Steer) {
		t.Errorf("%s %s -> %s: cookie %d of the selected socket", p, src, dst, got.Cookie)
	}
	count(seen, p, src.Is4(), set, want)
}

func count(seen map[string]int, p rule.Protocol, is4 bool, set rule.Set, d rule.Decision) {
	seen[p.String()]++
	if is4 {
		seen["v4"]++
	} else {
		seen["v6"]++
	}
	if d.Rule < 0 {
		seen[set.RuleName(d.Rule)]++
	} else {
		seen[d.Verdict.String()]++
	}
}
