package bench

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"

	"anyport/bench/netlab"
)

// TestSteerSubjectsDeliver builds every subject for both families (IPv4 only with -short) and checks that each of its
// works brings every packet and connection through: a subject that drops would look fast.
func TestSteerSubjectsDeliver(t *testing.T) {
	lab := netlab.New(t)
	netlab.RequireProgram(t, "nft", "iptables-nft", "ip6tables-nft", "iptables-legacy", "ip6tables-legacy", "ip")
	s := &steerRun{session: &session{lab: lab, rng: rand.New(rand.NewPCG(1, 1))}}
	t.Cleanup(func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	})
	if err := s.openGenerator(len(steerFamilies)); err != nil {
		t.Fatal(err)
	}
	families := steerFamilies
	if testing.Short() {
		families = families[:1]
	}
	for i := range families {
		works, err := s.prepare(t.Context(), &steerFamilies[i])
		if err != nil {
			t.Fatal(err)
		}
		for _, work := range works {
			if n := len(work.Subjects); n < len(steerSubjects()) {
				t.Errorf("%s has %d subjects of %d", work.Name, n, len(steerSubjects()))
			}
			for _, subject := range work.Subjects {
				sample, err := subject.Measure()
				if err != nil || sample.Lost != 0 || sample.Errors != 0 || sample.Values[0] <= 0 {
					t.Errorf("%s, %s: %+v, %v", work.Name, subject.Name, sample, err)
				}
			}
		}
	}
	if len(s.leftOut) > 0 {
		t.Errorf("left out: %v", s.leftOut)
	}
}

// TestSteerInterrupted ends the suite before its first measurement; the lab's own check finds what would be left.
func TestSteerInterrupted(t *testing.T) {
	netlab.RequireRoot(t)
	interrupt := errors.New("interrupt")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(interrupt)
	if _, err := steerSuite.Run(ctx, Options{Quick: true}); !errors.Is(err, interrupt) {
		t.Errorf("Run: %v", err)
	}
}
