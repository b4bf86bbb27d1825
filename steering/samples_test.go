package steering

import (
	"errors"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"anyport/bench/netlab"
	"anyport/bpf"
	"anyport/conf/rule"
)

// TestSamples refuses packets of each kind, one at a time, and reads what was sampled.
func TestSamples(t *testing.T) {
	w := newWorld(t)
	s := w.load()
	w.makeLocal(prefix4, prefix6)
	publish(t, s, rule.Set{Prefixes: served(), Rules: []rule.Rule{
		{Name: "closed", Ports: ports(25), Verdict: rule.Refuse, Service: rule.NoService, Fallback: rule.NoService},
		{Name: "down", Ports: ports(80), Verdict: rule.Steer, Service: 0, Fallback: rule.NoService},
		{Name: "passed", Ports: ports(81), Verdict: rule.Pass, Service: rule.NoService, Fallback: rule.NoService},
	}})
	if err := s.SetSampleRate(MaxSampleRate); err != nil {
		t.Fatal(err)
	}
	reader, err := s.Samples()
	if err != nil {
		t.Fatal(err)
	}
	all := newServers(t)
	for _, p := range both {
		for _, addr := range families {
			for _, c := range []struct {
				port  uint16
				rule  string
				cause Outcome
			}{{25, "closed", Refused}, {80, "down", Empty}, {7, "(sealed)", Refused}} {
				dst := netip.AddrPortFrom(addr, c.port)
				for range 2 { // passed packets are not sampled
					all.who(w.ns, p, netip.Addr{}, netip.AddrPortFrom(addr, 81))
				}
				waitForTurn(t, s)
				if who := all.who(w.ns, p, netip.Addr{}, dst); who != refused {
					t.Fatalf("%s %s met %q", p, dst, who)
				}
				sample, err := reader.Read()
				if err != nil {
					t.Fatal(err)
				}
				if sample.Protocol != p || sample.Dst != dst || sample.Rule.Name != c.rule || sample.Cause != c.cause ||
					sample.Src.Addr() != loopbackOf(addr) || sample.Src.Port() == 0 ||
					time.Since(sample.Time).Abs() > patience {
					t.Errorf("%s %s: sample %+v, want %q for %s", p, dst, sample, c.rule, c.cause)
				}
			}
		}
	}
	done := make(chan error)
	go readOne(reader, done)
	reader.Close()
	if err := <-done; !errors.Is(err, os.ErrClosed) {
		t.Errorf("Read of a closed reader: %v", err)
	}
}

func readOne(r *SampleReader, done chan<- error) { done <- errorOf(r.Read()) }

// waitForTurn waits until the next refused packet is sampled.
func waitForTurn(t *testing.T, s *Steering) {
	t.Helper()
	set, err := openMaps(s.dir, bpf.SteerMapSampling)
	if err != nil {
		t.Fatal(err)
	}
	defer set.close()
	netlab.Eventually(t, "a sample is due", func() bool {
		var next uint64
		if err := set[bpf.SteerMapSampling].Lookup(bpf.SteerSamplingKeySAMPLING_NEXT, &next); err != nil {
			t.Fatal(err)
		}
		return monotonic(t) >= next
	})
}

func monotonic(t *testing.T) uint64 {
	t.Helper()
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		t.Fatal(err)
	}
	return uint64(now.Nano())
}

// refuse runs the live program n times, without a packet, on one that it refuses.
func refuse(t *testing.T, s *Steering, n uint32) {
	t.Helper()
	in, err := newLookupContext(rule.UDP, netip.Addr{}, netip.AddrPortFrom(anycast6, 7))
	if err != nil {
		t.Fatal(err)
	}
	err = s.read(func(g *generation) error {
		_, err := g.program.Run(&ebpf.RunOptions{Context: in, Repeat: n})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// setInterval sets the time between two samples, also to what SetSampleRate would refuse.
func setInterval(t *testing.T, s *Steering, interval time.Duration) {
	t.Helper()
	set, err := openMaps(s.dir, bpf.SteerMapSampling)
	if err != nil {
		t.Fatal(err)
	}
	defer set.close()
	if err := set[bpf.SteerMapSampling].Put(bpf.SteerSamplingKeySAMPLING_INTERVAL, uint64(interval)); err != nil {
		t.Fatal(err)
	}
}

// drain returns how many samples are waiting.
func drain(t *testing.T, s *Steering) int {
	t.Helper()
	r, err := s.Samples()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	r.ring.SetDeadline(time.Now())
	for n := 0; ; n++ {
		if _, err := r.ring.Read(); errors.Is(err, os.ErrDeadlineExceeded) {
			return n
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// TestSampleRate refuses many packets at different rates: all are counted, few are sampled, none is lost unnoticed.
func TestSampleRate(t *testing.T) {
	const packets = 3000
	s := newWorld(t).load()
	publish(t, s, verdictSet(rule.Refuse))
	for _, c := range []struct {
		name     string
		interval time.Duration
		full     bool // the ring buffer overflows
		min, max int
	}{
		{"none", 0, false, 0, 0},
		{"one in an hour", time.Hour, false, 1, 1},
		{"all", 1, true, 500, packets - 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			setInterval(t, s, c.interval)
			before, lostBefore := refusals(t, s)["all"], lost(t, s)
			refuse(t, s, packets)
			n, lost := drain(t, s), int(lost(t, s)-lostBefore)
			if n < c.min || n > c.max || c.full != (lost > 0) || c.full && n+lost != packets {
				t.Errorf("%d samples, %d lost", n, lost)
			}
			if counted := refusals(t, s)["all"] - before; counted != packets {
				t.Errorf("%d packets counted, want %d", counted, packets)
			}
			set, err := openMaps(s.dir, bpf.SteerMapSampling)
			if err != nil {
				t.Fatal(err)
			}
			defer set.close()
			if err := set[bpf.SteerMapSampling].Put(bpf.SteerSamplingKeySAMPLING_NEXT, uint64(0)); err != nil {
				t.Fatal(err)
			}
		})
	}
	for _, rate := range []int{-1, MaxSampleRate + 1} {
		if err := s.SetSampleRate(rate); err == nil {
			t.Errorf("SetSampleRate took %d", rate)
		}
	}
}

func lost(t *testing.T, s *Steering) uint64 {
	t.Helper()
	n, err := s.SamplesLost()
	if err != nil {
		t.Fatal(err)
	}
	return n
}
