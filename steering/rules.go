package steering

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"

	"anyport/bpf"
	"anyport/conf/rule"
)

// Rule is a rule of the live generation, or one of the defaults that stand for no rule.
type Rule struct {
	ID       uint32 // of its counters: IDSealed, IDOpen, IDOutside or higher
	Name     string // of a default: "(sealed)", "(open)" or "(outside)"
	Verdict  rule.Verdict
	Service  uint16 // rule.NoService unless Verdict is rule.Steer
	Fallback uint16 // likewise, and if it has none
}

// Rules lists the defaults and the rules of the live generation, in the order of their ids.
func (s *Steering) Rules() ([]Rule, error) {
	var list []Rule
	err := s.read(func(g *generation) (err error) {
		list, err = g.liveRules()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list rules: %w", explainPrivilege(err))
	}
	return list, nil
}

func (g *generation) liveRules() ([]Rule, error) {
	entries, err := g.rules()
	if err != nil {
		return nil, err
	}
	var list []Rule
	for id := range entries {
		if e := &entries[id]; e.Generation == g.number {
			list = append(list, describeRule(uint32(id), e))
		}
	}
	return list, nil
}

func describeRule(id uint32, e *bpf.SteerRule) Rule {
	return Rule{ID: id, Name: ruleName(e), Verdict: rule.Verdict(e.Verdict), Service: e.Service, Fallback: e.Fallback}
}

// rules reads the rules map of a generation: element i is that of counter id i.
func (g *generation) rules() ([]bpf.SteerRule, error) {
	m, err := readMap(g.dir, bpf.SteerMapRules)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	entries := make([]bpf.SteerRule, m.MaxEntries())
	if err := readArray(m, entries, len(entries)); err != nil {
		return nil, err
	}
	return entries, nil
}

// readArray reads the first n elements of an array map, or of a per-CPU one: values then holds n times as many as there
// are possible CPUs.
func readArray[V any](m *ebpf.Map, values []V, n int) error {
	var cursor ebpf.MapBatchCursor
	got, err := m.BatchLookup(&cursor, make([]uint32, n), values, nil)
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) { // which says that there is no more
		return fmt.Errorf("read map %s: %w", m, err)
	}
	if got != n {
		return fmt.Errorf("read map %s: got %d elements of %d", m, got, n)
	}
	return nil
}
