package steering

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"anyport/bpf"
	"anyport/conf/rule"
)

// Publish makes t the rule set in force and returns the new generation. Each packet is judged by the old set or by the
// new one. A rule keeps its counters by its name; the counters of a vanished rule wait for it until their place is
// needed. Publish returns ErrNotLoaded if steering has been unloaded, and a *TooManyRulesError if there are too few
// counters; the old generation then stays in force, as it does with every error that comes with the zero Generation.
func (s *Steering) Publish(t *rule.Table) (Generation, error) {
	g, err := s.replace(func(p *publication) []step {
		return []step{
			{"assign ids", func() error { return p.assign(t.Set()) }},
			{"build tables", func() error { return p.next.build(t, p.ids) }},
		}
	})
	if err != nil {
		return g, fmt.Errorf("publish rules: %w", err)
	}
	return g, nil
}

// Upgrade replaces the program by the one that this version brings and leaves the rule set in force as it is.
func (s *Steering) Upgrade() (Generation, error) {
	g, err := s.replace(func(p *publication) []step {
		return []step{
			{"take over rules", p.carryRules},
			{"take over tables", p.carryTables},
		}
	})
	if err != nil {
		return g, fmt.Errorf("upgrade program: %w", err)
	}
	return g, nil
}

// publication is the exchange of one generation for the next.
type publication struct {
	s      *Steering
	link   *link.NetNsLink
	old    *generation
	next   pending
	ids    *assignment
	live   Generation // the zero Generation until next is in force
	shared mapSet
}

// replace exchanges the live generation for one whose tables the steps of prepare make.
func (s *Steering) replace(prepare func(*publication) []step) (Generation, error) {
	p := &publication{s: s}
	err := s.opts.locked(func() error {
		defer p.close()
		if err := p.open(); err != nil {
			return err
		}
		err := s.opts.run(p.steps(prepare(p)))
		if err != nil && p.live.Number == 0 {
			return p.next.undo(err)
		}
		return err
	})
	return p.live, explainPrivilege(err)
}

// open opens the instance as it is. The caller holds the lock, so that it stays so.
func (p *publication) open() error {
	if err := p.s.checkSchema(); err != nil {
		return err
	}
	l, program, err := p.s.attachment()
	if err != nil {
		return err
	}
	p.link = l
	p.old, err = liveGeneration(p.s.dir, program)
	if errors.Is(err, errNoGeneration) {
		return fmt.Errorf("the link holds program %d, which is not of ours: somebody has updated the link", program)
	}
	if err != nil {
		return err
	}
	if p.shared, err = openMaps(p.s.dir, sharedNames...); err != nil {
		return err
	}
	number := p.old.number + 1
	p.next = pending{number: number, dir: generationDir(p.s.dir, number), shared: p.shared}
	p.next.readers, err = readersOf(p.s.dir)
	return err
}

func (p *publication) steps(prepare []step) []step {
	return slices.Concat(
		[]step{{"remove leftovers", p.removeOthers}},
		prepare,
		[]step{{"load program", p.next.load}},
		p.next.pinSteps(),
		[]step{
			{"clear reused counters", p.clearReused},
			{"update link", p.updateLink},
			{"remove old generation", p.removeOld},
		},
	)
}

// removeOthers removes what a crash has left of generations that are not live.
func (p *publication) removeOthers() error {
	numbers, err := generationNumbers(p.s.dir)
	if err != nil {
		return err
	}
	for _, n := range numbers {
		if n == p.old.number {
			continue
		}
		if err := removeDir(generationDir(p.s.dir, n)); err != nil {
			return err
		}
	}
	return nil
}

func (p *publication) assign(set rule.Set) error {
	previous, err := p.old.rules()
	if err != nil {
		return err
	}
	max := int(p.shared[bpf.SteerMapCounters].MaxEntries() - firstID)
	p.ids, err = assignIDs(previous, set, p.next.number, max)
	return err
}

// carryRules lists the rules of the old generation as those of the next one.
func (p *publication) carryRules() error {
	entries, err := p.old.rules()
	if err != nil {
		return err
	}
	for i := range entries {
		if entries[i].Generation == p.old.number {
			entries[i].Generation = p.next.number
		}
	}
	p.ids = &assignment{entries: entries}
	return nil
}

// carryTables takes the old generation's tables for the next one, all but the list of rules.
func (p *publication) carryTables() error {
	tables, err := openMaps(p.old.dir, tableNames...)
	if err != nil {
		return err
	}
	defer tables.close()
	p.next.tables = make(mapSet)
	for name, m := range tables {
		if p.next.tables[name], err = m.Clone(); err != nil { // a clone, as Pin would move the pin that m knows of
			return fmt.Errorf("take over map %s: %w", name, err)
		}
	}
	spec, err := steerSpec()
	if err != nil {
		return err
	}
	p.next.tables[bpf.SteerMapRules], err = fillArray(spec.Maps[bpf.SteerMapRules], p.ids.entries)
	return err
}

// clearReused clears what passes from vanished rules to new ones with their ids: the counters, and what sources have used
// up of a connection rate. The live generation does not use them.
func (p *publication) clearReused() error {
	if len(p.ids.reused) == 0 {
		return nil
	}
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		return fmt.Errorf("clear counters: %w", err)
	}
	zero := make([]bpf.SteerCounter, cpus)
	for _, id := range p.ids.reused {
		if err := p.shared[bpf.SteerMapCounters].Put(id, zero); err != nil {
			return fmt.Errorf("clear counters: %w", err)
		}
	}
	return p.clearBuckets()
}

// clearBuckets deletes the buckets of reused ids.
func (p *publication) clearBuckets() error {
	m := p.shared[bpf.SteerMapBuckets]
	keys := make([]bpf.SteerBucketKey, m.MaxEntries())
	var cursor ebpf.MapBatchCursor
	n, err := m.BatchLookup(&cursor, keys, make([]uint64, len(keys)), nil)
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) { // which says that there is no more
		return fmt.Errorf("clear connection rates: %w", err)
	}
	slices.Sort(p.ids.reused)
	for i := range keys[:n] {
		if _, reused := slices.BinarySearch(p.ids.reused, keys[i].Counter); !reused {
			continue
		}
		err := m.Delete(&keys[i])
		if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) { // forgotten meanwhile, for room
			return fmt.Errorf("clear connection rates: %w", err)
		}
	}
	return nil
}

// updateLink makes the next generation live, provided that the old one still is.
func (p *publication) updateLink() error {
	swap := link.RawLinkUpdateOptions{New: p.next.program, Old: p.old.program, Flags: unix.BPF_F_REPLACE}
	err := p.link.UpdateArgs(swap)
	if err != nil {
		return fmt.Errorf("replace program: %w", err)
	}
	now := generation{number: p.next.number, dir: p.next.dir, program: p.next.program}
	p.live, err = now.describe()
	return err
}

// removeOld removes the pins of the generation that was live; the kernel frees it once no CPU runs it any more.
func (p *publication) removeOld() error { return removeDir(p.old.dir) }

func (p *publication) close() {
	p.shared.close()
	p.next.close()
	if p.old != nil {
		p.old.close()
	}
	if p.link != nil {
		p.link.Close()
	}
}
