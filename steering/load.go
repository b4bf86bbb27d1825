package steering

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"anyport/bpf"
	"anyport/conf/rule"
)

// Load makes steering in a network namespace: the shared maps, and a program with an empty rule set, which passes every
// packet. It mounts bpffs where that is missing, and removes what namespaces that have ended left behind. Load returns
// ErrLoaded if steering is loaded already, an *UnsupportedError if the kernel is too old and a *PrivilegeError without
// CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN. The caller closes the Steering.
func Load(o Options) (*Steering, error) {
	s, err := newSteering(o)
	if err != nil {
		return nil, err
	}
	if err := s.load(); err != nil {
		s.Close()
		if !errors.Is(err, ErrLoaded) {
			err = fmt.Errorf("load steering: %w", diagnose(err))
		}
		return nil, err
	}
	return s, nil
}

// LoadOrOpen opens what is loaded, or else loads. If other processes load and unload at the same time it does what it
// can; the error of the last try is returned.
func LoadOrOpen(o Options) (*Steering, error) {
	const tries = 3 // each needs another process to change its mind in between
	for try := 1; ; try++ {
		s, err := Open(o)
		if !errors.Is(err, ErrNotLoaded) {
			return s, err
		}
		s, err = Load(o)
		if !errors.Is(err, ErrLoaded) || try == tries {
			return s, err
		}
	}
}

func (s *Steering) load() error {
	if err := mountBpffs(s.opts.Bpffs); err != nil {
		return err
	}
	if err := makeDir(s.opts.baseDir(), baseMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return s.opts.locked(func() error {
		l, _, err := s.attachment()
		if err == nil {
			l.Close()
			return ErrLoaded
		}
		if !errors.Is(err, ErrNotLoaded) {
			return err
		}
		n := &loading{s: s, shared: make(mapSet), first: pending{dir: generationDir(s.dir, 0)}}
		n.first.readers = s.opts.pinAccess(bpf.SteerMapCounters)
		defer n.close()
		if err := s.opts.run(n.steps()); err != nil {
			return errors.Join(err, removeDir(s.dir))
		}
		return nil
	})
}

// loading is an instance that is being made. It counts as loaded from its last step on, in which the link is pinned:
// before, the link ends with the process.
type loading struct {
	s      *Steering
	shared mapSet
	first  pending
	link   *link.NetNsLink
}

func (n *loading) steps() []step {
	return slices.Concat(
		[]step{
			{"remove stale directories", func() error { return removeStale(&n.s.opts) }},
			{"make directory", func() error { return makeDir(n.s.dir, directoryMode) }},
			{"make shared maps", n.makeShared},
		},
		n.pinShared(),
		[]step{{"build empty generation", n.buildFirst}, {"load program", n.first.load}},
		n.first.pinSteps(),
		[]step{{"attach", n.attach}, {"pin link", n.pinLink}},
	)
}

func (n *loading) makeShared() error {
	spec, err := steerSpec()
	if err != nil {
		return err
	}
	spec = spec.Copy()
	spec.Maps[bpf.SteerMapCounters].MaxEntries = n.s.opts.counterEntries()
	for _, name := range sharedNames {
		if n.shared[name], err = ebpf.NewMap(spec.Maps[name]); err != nil {
			return fmt.Errorf("make map %s: %w", name, err)
		}
	}
	n.first.shared = n.shared
	meta := bpf.SteerMeta{Schema: bpf.SteerSchemaSCHEMA}
	if err := n.shared[bpf.SteerMapMeta].Put(uint32(0), &meta); err != nil {
		return fmt.Errorf("write schema: %w", err)
	}
	return setSampleRate(n.shared[bpf.SteerMapSampling], DefaultSampleRate)
}

func (n *loading) pinShared() []step {
	var steps []step
	for _, name := range sharedNames {
		steps = append(steps, step{"pin " + name, func() error {
			return pin(n.shared[name], filepath.Join(n.s.dir, name), n.s.opts.pinAccess(name))
		}})
	}
	return steps
}

func (n *loading) buildFirst() error {
	a, err := assignIDs(nil, rule.Set{}, 0, n.s.opts.MaxRules)
	if err != nil {
		return err
	}
	return n.first.build(&rule.Table{}, a)
}

func (n *loading) attach() error {
	l, err := link.AttachNetNs(n.s.ns.fd(), n.first.program)
	if err != nil {
		return fmt.Errorf("attach sk_lookup program: %w", err)
	}
	n.link = l
	return nil
}

func (n *loading) pinLink() error {
	return pin(n.link, filepath.Join(n.s.dir, pinLink), privately)
}

func (n *loading) close() {
	n.shared.close()
	n.first.close()
	if n.link != nil {
		n.link.Close()
	}
}

// removeStale removes the directories whose link is gone or detached: the namespace has ended, or a Load or Unload did
// not get to its end. The caller holds the lock, so that nobody is on the way there.
func removeStale(o *Options) error {
	entries, err := os.ReadDir(o.baseDir())
	if err != nil {
		return fmt.Errorf("list pin directories: %w", err)
	}
	for _, e := range entries {
		if _, err := strconv.ParseUint(e.Name(), 10, 64); err != nil {
			continue // not the directory of a namespace
		}
		dir := filepath.Join(o.baseDir(), e.Name())
		l, info, err := openLink(dir)
		switch {
		case err == nil && info.NetNs().NetnsInode != 0:
			l.Close()
			continue
		case err == nil:
			l.Close()
		case !errors.Is(err, ErrNotLoaded):
			return err
		}
		if err := removeDir(dir); err != nil {
			return err
		}
	}
	return nil
}
