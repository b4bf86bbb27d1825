package steering

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"anyport/bpf"
	"anyport/conf/rule"
)

// The counter ids of packets that no rule decided about. Rules have the ids from there on.
const (
	IDSealed  = uint32(bpf.SteerCounterIdCOUNTER_SEALED)  // refused: an unclaimed port of a sealed prefix
	IDOpen    = uint32(bpf.SteerCounterIdCOUNTER_OPEN)    // passed: an unclaimed port of an open prefix
	IDOutside = uint32(bpf.SteerCounterIdCOUNTER_OUTSIDE) // passed: an address that is not served
	firstID   = uint32(bpf.SteerCounterIdCOUNTER_RULES)
)

// assignment gives the rules of a generation their counter ids.
type assignment struct {
	entries []bpf.SteerRule // by id: what the generation's rules map holds, vanished rules included
	ids     []uint32        // by index in rule.Set.Rules
	reused  []uint32        // ids taken from vanished rules: their counters are to be cleared
}

// assignIDs gives every rule of set the id that its name had in previous, new names the ids not yet used, up to max
// rules, and past that those of the rules that vanished longest ago.
func assignIDs(previous []bpf.SteerRule, set rule.Set, generation uint64, max int) (*assignment, error) {
	if len(set.Rules) > max {
		return nil, &TooManyRulesError{Rules: len(set.Rules), Max: max}
	}
	if err := checkServices(set.Rules); err != nil {
		return nil, err
	}
	a := &assignment{entries: slices.Clone(previous), ids: make([]uint32, len(set.Rules))}
	a.setDefaults(generation)
	known := make(map[string]uint32, len(previous))
	for id := firstID; int(id) < len(previous); id++ {
		known[ruleName(&previous[id])] = id
	}
	var added []int
	for i := range set.Rules {
		if id, ok := known[set.Rules[i].Name]; ok {
			a.set(i, id, &set.Rules[i], generation)
		} else {
			added = append(added, i)
		}
	}
	vanished := a.vanished(generation)
	for _, i := range added {
		id := uint32(len(a.entries))
		if int(id) < int(firstID)+max {
			a.entries = append(a.entries, bpf.SteerRule{})
		} else {
			id, vanished = vanished[0], vanished[1:]
			a.reused = append(a.reused, id)
		}
		a.set(i, id, &set.Rules[i], generation)
	}
	return a, nil
}

// checkServices makes sure that every service has slots: the program would find one that has none empty.
func checkServices(rules []rule.Rule) error {
	for i := range rules {
		r := &rules[i]
		if r.Verdict != rule.Steer {
			continue
		}
		if r.Service >= MaxServices || r.Fallback >= MaxServices && r.Fallback != rule.NoService {
			return fmt.Errorf("rule %q steers to services %d and %d: numbers end at %d",
				r.Name, r.Service, r.Fallback, MaxServices-1)
		}
	}
	return nil
}

// set gives rule i of the set its id.
func (a *assignment) set(i int, id uint32, r *rule.Rule, generation uint64) {
	a.ids[i] = id
	a.entries[id] = ruleEntry(r.Name, r.Verdict, r.Service, r.Fallback, generation)
	if r.Verdict != rule.Steer {
		a.entries[id].Service, a.entries[id].Fallback = rule.NoService, rule.NoService
	}
}

// setDefaults names the ids that stand for no rule.
func (a *assignment) setDefaults(generation uint64) {
	if len(a.entries) == 0 {
		a.entries = make([]bpf.SteerRule, firstID)
	}
	var none rule.Set
	for id, d := range []struct {
		rule    int
		verdict rule.Verdict
	}{IDSealed: {rule.Sealed, rule.Refuse}, IDOpen: {rule.Open, rule.Pass}, IDOutside: {rule.Outside, rule.Pass}} {
		a.entries[id] = ruleEntry(none.RuleName(d.rule), d.verdict, rule.NoService, rule.NoService, generation)
	}
}

func ruleEntry(name string, v rule.Verdict, service, fallback uint16, generation uint64) bpf.SteerRule {
	e := bpf.SteerRule{Verdict: bpf.SteerVerdict(v), Service: service, Fallback: fallback, Generation: generation}
	copy(e.Name[:], name)
	return e
}

// vanished returns the ids whose rules the generation does not have, those that vanished longest ago first.
func (a *assignment) vanished(generation uint64) []uint32 {
	var ids []uint32
	for id := firstID; int(id) < len(a.entries); id++ {
		if a.entries[id].Generation != generation {
			ids = append(ids, id)
		}
	}
	slices.SortStableFunc(ids, func(x, y uint32) int {
		return cmp.Compare(a.entries[x].Generation, a.entries[y].Generation)
	})
	return ids
}

func ruleName(e *bpf.SteerRule) string {
	name, _, _ := bytes.Cut(e.Name[:], []byte{0})
	return string(name)
}
