package steering

import (
	"fmt"

	"github.com/cilium/ebpf"

	"anyport/bpf"
)

// RuleCounters are the counters of a rule of the live generation, or of a default, since steering was loaded.
type RuleCounters struct {
	Rule
	Counters
}

// Counters reads the counters of the defaults and of the live rules, in the order of their ids. The CPUs go on counting
// meanwhile.
func (s *Steering) Counters() ([]RuleCounters, error) {
	var list []RuleCounters
	err := s.read(func(g *generation) (err error) {
		list, err = s.counters(g)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read counters: %w", explainPrivilege(err))
	}
	return list, nil
}

func (s *Steering) counters(g *generation) ([]RuleCounters, error) {
	live, err := g.liveRules()
	if err != nil {
		return nil, err
	}
	m, err := readMap(s.dir, bpf.SteerMapCounters)
	if err != nil {
		return nil, goneIsNotLoaded(err)
	}
	defer m.Close()
	sums, err := sumCounters(m, int(live[len(live)-1].ID)+1)
	if err != nil {
		return nil, err
	}
	list := make([]RuleCounters, len(live))
	for i, r := range live {
		list[i] = RuleCounters{r, sums[r.ID]}
	}
	return list, nil
}

// sumCounters adds up the CPUs' shares of the first n counters.
func sumCounters(m *ebpf.Map, n int) ([]Counters, error) {
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		return nil, err
	}
	shares := make([]bpf.SteerCounter, n*cpus)
	if err := readArray(m, shares, n); err != nil {
		return nil, err
	}
	sums := make([]Counters, n)
	for i := range shares {
		sums[i/cpus].add(&shares[i])
	}
	return sums, nil
}
