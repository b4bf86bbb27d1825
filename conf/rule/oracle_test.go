package rule_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"anyport/conf/rule"
	"anyport/conf/rule/ruletest"
)

// newRand returns a generator with a fresh seed, which it logs.
func newRand(t *testing.T) *rand.Rand {
	seed := rand.Uint64()
	t.Logf("seed %#x", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// TestOracle holds the compiled table and Explain's winner against a linear match.
func TestOracle(t *testing.T) {
	rng := newRand(t)
	wins := make(map[string]int)
	for n := range 1000 {
		set := ruletest.Random(rng)
		table, err := rule.Compile(set)
		if err != nil {
			t.Fatalf("set %d: %v\n%s", n, err, dump(set))
		}
		for range 200 {
			checkPacket(t, rng, table, wins)
		}
	}
	kinds := []string{"refuse", "pass", "steer", "(sealed)", "(open)", "(outside)", "tcp", "udp", "v4", "v6"}
	for _, kind := range kinds {
		if wins[kind] < 1000 {
			t.Errorf("%s decided %d packets of 200,000: the generators miss it", kind, wins[kind])
		}
	}
}

// checkPacket checks one random packet, and counts what decided about it.
func checkPacket(t *testing.T, rng *rand.Rand, table *rule.Table, wins map[string]int) {
	t.Helper()
	set := table.Set()
	p, src, dst := ruletest.Packet(rng, set)
	want := ruletest.Naive(set, p, src, dst)
	if got := table.Lookup(p, src, dst); got != want {
		t.Fatalf("%s %s -> %s: Lookup %+v, want %+v\n%s", p, src, dst, got, want, dump(set))
	}
	if src.Is4() {
		mapped := netip.AddrPortFrom(netip.AddrFrom16(dst.Addr().As16()), dst.Port())
		if got := table.Lookup(p, netip.AddrFrom16(src.As16()), mapped); got != want {
			t.Fatalf("%s %s -> %s, mapped: Lookup %+v, want %+v\n%s", p, src, dst, got, want, dump(set))
		}
	}
	if got := table.Serves(dst.Addr()); got != (want.Rule != rule.Outside) {
		t.Fatalf("Serves(%s) = %t, but decided by %s", dst.Addr(), got, set.RuleName(want.Rule))
	}
	if c := table.Explain(p, src, dst)[0]; c.Rule != want.Rule || c.Verdict != want.Verdict || c.Lost.Cause != rule.Won {
		t.Fatalf("%s %s -> %s: Explain begins with %+v, want %+v\n%s", p, src, dst, c, want, dump(set))
	}
	wins[p.String()]++
	if src.Is4() {
		wins["v4"]++
	} else {
		wins["v6"]++
	}
	if want.Rule < 0 {
		wins[set.RuleName(want.Rule)]++
	} else {
		wins[want.Verdict.String()]++
	}
}

// TestTieOracle holds tie detection against the pairwise definition.
func TestTieOracle(t *testing.T) {
	rng := newRand(t)
	tied, clean := 0, 0
	for n := range 2000 {
		set := ruletest.RandomTies(rng)
		if n%4 == 0 {
			set = ruletest.Random(rng)
		}
		_, err := rule.Compile(set)
		reported := make(map[int]bool)
		for _, fault := range faults(err) {
			var tie *rule.TieError
			if !errors.As(fault, &tie) {
				t.Fatalf("set %d: %v\n%s", n, fault, dump(set))
			}
			if !ruletest.Tied(set.Rules[tie.A], set.Rules[tie.B]) || tie.A >= tie.B {
				t.Fatalf("set %d: not a tie: %v\n%s", n, fault, dump(set))
			}
			reported[tie.A], reported[tie.B] = true, true
		}
		for i := range set.Rules {
			if want := tiesWithAny(set, i); want != reported[i] {
				t.Fatalf("set %d: rule %d in a reported tie: %t, want %t\n%s", n, i, reported[i], want, dump(set))
			}
		}
		if len(reported) > 0 {
			tied++
		} else {
			clean++
		}
	}
	if tied < 200 || clean < 200 {
		t.Errorf("%d sets with ties and %d without: the generators miss one", tied, clean)
	}
}

func tiesWithAny(set rule.Set, i int) bool {
	for j := range set.Rules {
		if i != j && ruletest.Tied(set.Rules[i], set.Rules[j]) {
			return true
		}
	}
	return false
}

// faults returns the errors that err joins.
func faults(err error) []error {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}

func dump(set rule.Set) string {
	s := ""
	for _, p := range set.Prefixes {
		s += fmt.Sprintf("served %s open=%t\n", p.Prefix, p.Open)
	}
	for i, r := range set.Rules {
		s += fmt.Sprintf("%d: %+v\n", i, r)
	}
	return s
}
