package steering

import (
	"errors"
	"path/filepath"

	"github.com/cilium/ebpf"

	"anyport/bpf"
	"anyport/conf/rule"
)

// pending is a generation that is being made. Nothing of it has an effect before the link holds its program.
type pending struct {
	number  uint64
	dir     string
	readers access // of the list of rules
	shared  mapSet // of the instance; owned by the caller
	tables  mapSet // those of tableNames and the rules
	program *ebpf.Program
}

// build makes the maps. a gives the rules their counters.
func (p *pending) build(t *rule.Table, a *assignment) error {
	tables, err := buildTables(t, a.ids)
	if err != nil {
		return err
	}
	p.tables = tables
	spec, err := steerSpec()
	if err != nil {
		return err
	}
	p.tables[bpf.SteerMapRules], err = fillArray(spec.Maps[bpf.SteerMapRules], a.entries)
	return err
}

// load loads the program over the maps.
func (p *pending) load() error {
	used := make(mapSet)
	for _, name := range tableNames {
		used[name] = p.tables[name]
	}
	for _, name := range usedNames {
		used[name] = p.shared[name]
	}
	program, err := loadProgram(used, false)
	p.program = program
	return err
}

// pinSteps are the steps that pin the generation in its directory, the program last: a generation without is none.
func (p *pending) pinSteps() []step {
	steps := []step{{"make generation directory", func() error { return makeDir(p.dir, directoryMode) }}}
	for _, name := range tableNames {
		steps = append(steps, step{"pin " + name, func() error {
			return pin(p.tables[name], filepath.Join(p.dir, name), privately)
		}})
	}
	return append(steps,
		step{"pin rules", func() error {
			return pin(p.tables[bpf.SteerMapRules], filepath.Join(p.dir, bpf.SteerMapRules), p.readers)
		}},
		step{"pin program", func() error {
			return pin(p.program, filepath.Join(p.dir, pinProgram), privately)
		}},
	)
}

// undo removes what has been pinned, after err, of a generation that will not be used.
func (p *pending) undo(err error) error {
	if p.dir == "" {
		return err
	}
	return errors.Join(err, removeDir(p.dir))
}

func (p *pending) close() {
	p.tables.close()
	p.program.Close()
}
