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
	families := steerFamilies
	if testing.Short() {
		families = families[:1]
	}
	for i := range families {
		s := &steerRun{
			session: &session{lab: lab, rng: rand.New(rand.NewPCG(1, 1))}, family: &families[i],
		}
		t.Run(s.family.name, func(t *testing.T) {
			defer func() {
				if err := s.close(); err != nil {
					t.Error(err)
				}
			}()
			works, err := s.prepare(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if len(works) != len(steerWorkList) || len(s.leftOut) > 0 {
				t.Errorf("%d works of %d, left out: %v", len(works), len(steerWorkList), s.leftOut)
			}
			for _, work := range works {
				checkDelivery(t, work)
			}
		})
	}
}

// checkDelivery measures every subject of a work once.
func checkDelivery(t *testing.T, work Work) {
	t.Helper()
	for _, subject := range work.Subjects {
		sample, err := subject.Measure()
		if err != nil || sample.Lost != 0 || sample.Errors != 0 || sample.Values[0] <= 0 {
			t.Errorf("%s, %s: %+v, %v", work.Name, subject.Name, sample, err)
		}
		if injected := work.Figures[0].Name == receivePath; injected && (sample.Generator <= 0 || sample.Generator > 0.5) {
			t.Errorf("%s, %s: the generator takes %.2f of the time", work.Name, subject.Name, sample.Generator)
		}
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
