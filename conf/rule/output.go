package rule

// output collects the arrays of a table, for both address families.
type output struct {
	set       *Set
	budget    *budget
	intervals *runs[Interval]
	actions   *runs[Action]
	entries   *runs[sourceEntry]
	rows      []Row
	rowIDs    map[Row]uint32
	sets      []List // by source set; sets[0] is empty
	setIDs    map[List]uint32
	choice    []Action // scratch
}

// sourceEntry is a Source that does not know its set yet, without the pointer that a netip.Prefix holds.
type sourceEntry struct {
	family  uint32
	rank    uint32 // of the prefix among the family's sources
	ordinal uint32
}

// refusal is the row for port 0, the first of every table.
const refusal uint32 = 0

func newOutput(set *Set, b *budget) *output {
	o := &output{
		set: set, budget: b,
		intervals: newRuns(b, "port intervals", b.intervals, Interval.hash),
		actions:   newRuns(b, "actions", b.actions, Action.hash),
		entries:   newRuns(b, "source prefixes", b.sources, sourceEntry.hash),
		rowIDs:    make(map[Row]uint32),
		sets:      make([]List, 1),
		setIDs:    make(map[List]uint32),
	}
	o.row(solution{winners: []int32{nobody}}, nil, false)
	return o
}

// row returns the row of a solution for rules, at a sealed or an open prefix.
func (o *output) row(s solution, rules []int32, open bool) uint32 {
	o.choice = o.choice[:0]
	for _, winner := range s.winners {
		if winner == nobody {
			o.choice = append(o.choice, fallback(open))
		} else {
			o.choice = append(o.choice, o.set.Rules[rules[winner]].action(rules[winner]))
		}
	}
	actions, _ := o.actions.add(o.choice)
	key := Row{SourceSet: s.set, Base: actions.Offset}
	id, ok := o.rowIDs[key]
	if ok {
		return id
	}
	if len(o.rows) >= o.budget.rows {
		o.budget.exceed("rows", o.budget.rows)
		return refusal
	}
	id = uint32(len(o.rows))
	o.rows = append(o.rows, key)
	o.rowIDs[key] = id
	return id
}

// fallback is the action where no rule decides.
func fallback(open bool) Action {
	if open {
		return Action{Verdict: Pass, Service: NoService, Fallback: NoService, Rule: Open}
	}
	return Action{Verdict: Refuse, Service: NoService, Fallback: NoService, Rule: Sealed}
}

func (r *Rule) action(index int32) Action {
	a := Action{Verdict: r.Verdict, Service: NoService, Fallback: NoService, Rule: index}
	if r.Verdict == Steer {
		a.Service, a.Fallback = r.Service, r.Fallback
	}
	return a
}

// sourceSet returns the number of the set of entries; a set without any is 0.
func (o *output) sourceSet(entries []sourceEntry) uint32 {
	if len(entries) == 0 {
		return 0
	}
	l, _ := o.entries.add(entries)
	id, ok := o.setIDs[l]
	if !ok {
		id = uint32(len(o.sets))
		o.sets = append(o.sets, l)
		o.setIDs[l] = id
	}
	return id
}

// sources returns the entries of all sets with their numbers, and for each the index of the one around it, or -1.
func (o *output) sources(from [2]*sources) (all []Source, above []int32) {
	all = make([]Source, 0, len(o.entries.items))
	above = make([]int32, 0, len(o.entries.items))
	for set, l := range o.sets {
		for _, e := range o.entries.at(l) {
			prefix := from[e.family].prefixes[e.rank]
			around := int32(len(all)) - 1
			if around < int32(l.Offset) {
				around = -1
			}
			for around >= 0 && !encloses(all[around].Prefix, prefix) {
				around = above[around]
			}
			all = append(all, Source{Set: uint32(set), Prefix: prefix, Ordinal: e.ordinal})
			above = append(above, around)
		}
	}
	return all, above
}

func (i Interval) hash() uint64 { return uint64(i.First)<<32 | uint64(i.Row) }

func (a Action) hash() uint64 {
	return uint64(a.Verdict)<<62 ^ uint64(a.Service)<<46 ^ uint64(a.Fallback)<<32 ^ uint64(uint32(a.Rule))
}

func (e sourceEntry) hash() uint64 {
	return uint64(e.ordinal)<<33 ^ uint64(e.rank)<<1 ^ uint64(e.family)
}
