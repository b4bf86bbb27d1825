package steering

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"anyport/bench/netlab"
	"anyport/bpf"
	"anyport/conf/rule"
)

// TestLifecycle loads, opens, publishes, upgrades and unloads.
func TestLifecycle(t *testing.T) {
	w := newWorld(t)
	if _, err := Open(w.opts); !errors.Is(err, ErrNotLoaded) {
		t.Fatalf("Open before Load: %v", err)
	}
	if err := Unload(w.opts); !errors.Is(err, ErrNotLoaded) {
		t.Fatalf("Unload before Load: %v", err)
	}
	s := w.load()
	if _, err := Load(w.opts); !errors.Is(err, ErrLoaded) {
		t.Fatalf("second Load: %v", err)
	}
	wantGeneration(t, s, 0, 0)
	publish(t, s, steerAll())
	wantGeneration(t, s, 1, 1)
	again, err := LoadOrOpen(w.opts)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	wantGeneration(t, again, 1, 1)
	if _, err := again.Upgrade(); err != nil {
		t.Fatal(err)
	}
	wantGeneration(t, s, 2, 1)
	rules, err := s.Rules()
	if err != nil || len(rules) != 4 || rules[3] != (Rule{3, "all", rule.Steer, 0, rule.NoService}) {
		t.Fatalf("Rules: %+v, %v", rules, err)
	}
}

func wantGeneration(t *testing.T, s *Steering, number uint64, rules int) {
	t.Helper()
	g, err := s.Generation()
	if err != nil || g.Number != number || g.Rules != rules || !g.Current || g.ProgramID == 0 || g.Published.IsZero() {
		t.Fatalf("generation %+v, %v; want number %d, %d rules", g, err, number, rules)
	}
	dirs, err := filepath.Glob(filepath.Join(s.dir, generationPrefix+"*"))
	if err != nil || len(dirs) != 1 || dirs[0] != generationDir(s.dir, number) {
		t.Fatalf("generations pinned: %q, %v", dirs, err)
	}
}

// TestUnloadUnderneath unloads while another Steering is open: it must say so, and work again after the next Load.
func TestUnloadUnderneath(t *testing.T) {
	w := newWorld(t)
	s := w.load()
	if err := Unload(w.opts); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"Publish":    errorOf(s.Publish(compile(t, steerAll()))),
		"Upgrade":    errorOf(s.Upgrade()),
		"Generation": errorOf(s.Generation()),
		"Rules":      errorOf(s.Rules()),
		"Counters":   errorOf(s.Counters()),
		"Slots":      errorOf(s.Slots()),
		"Samples":    errorOf(s.Samples()),
		"Twin":       errorOf(s.Twin()),
		"Foreign":    errorOf(s.ForeignPrograms()),
		"Assign":     s.Assign(0, rule.TCP, w.listen(home)),
		"Release":    s.Release(0, rule.TCP),
		"Unload":     s.Unload(),
	} {
		if !errors.Is(err, ErrNotLoaded) {
			t.Errorf("%s after Unload: %v", name, err)
		}
	}
	w.wantNoPins()
	again, err := Load(w.opts)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	publish(t, s, steerAll())
}

func errorOf[V any](_ V, err error) error { return err }

// TestSchema opens what a version with another layout has pinned.
func TestSchema(t *testing.T) {
	w := newWorld(t)
	s := w.load()
	set, err := openMaps(s.dir, bpf.SteerMapMeta)
	if err != nil {
		t.Fatal(err)
	}
	defer set.close()
	if err := set[bpf.SteerMapMeta].Put(uint32(0), bpf.SteerMeta{Schema: 4711}); err != nil {
		t.Fatal(err)
	}
	_, openErr := Open(w.opts)
	_, loadErr := LoadOrOpen(w.opts)
	for _, err := range []error{openErr, loadErr, errorOf(s.Publish(compile(t, steerAll())))} {
		var schema *SchemaError
		if !errors.Is(err, ErrSchema) || !errors.As(err, &schema) || schema.Found != 4711 || Hint(err) == "" {
			t.Errorf("with another schema: %v", err)
		}
	}
}

// TestForeignTag opens a program that is not the one embedded here: it is told, and the next publication replaces it.
func TestForeignTag(t *testing.T) {
	w := newWorld(t)
	s := w.load()
	other, err := loadSmall()
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	l, _, err := s.attachment()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	path := filepath.Join(generationDir(s.dir, 0), pinProgram)
	if err := errors.Join(l.Update(other), os.Remove(path), other.Pin(path)); err != nil {
		t.Fatal(err)
	}
	again, err := Open(w.opts)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if g, err := again.Generation(); err != nil || g.Current {
		t.Fatalf("generation with a foreign program: %+v, %v", g, err)
	}
	publish(t, again, steerAll())
	wantGeneration(t, again, 1, 1)
}

// TestStrayProgram replaces the program by one that is not pinned: nothing here fits it, and nothing is changed.
func TestStrayProgram(t *testing.T) {
	w := newWorld(t)
	s := w.load()
	other, err := loadSmall()
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	l, _, err := s.attachment()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := l.Update(other); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Publish(compile(t, steerAll())); err == nil || !strings.Contains(err.Error(), "not of ours") {
		t.Errorf("Publish: %v", err)
	}
}

// TestWritersAndReaders lets several publish at a time, while others read.
func TestWritersAndReaders(t *testing.T) {
	const writers, readers, rounds = 3, 2, 15
	w := newWorld(t)
	s := w.load()
	publish(t, s, setFor("rule", 0))
	table := compile(t, setFor("rule", 0))
	var group errgroup.Group
	do := func(fn func(*Steering) error) {
		group.Go(func() error {
			s, err := Open(w.opts)
			if err != nil {
				return err
			}
			defer s.Close()
			for range rounds {
				if err := fn(s); err != nil {
					return err
				}
			}
			return nil
		})
	}
	for range writers {
		do(publishing(table))
	}
	for range readers {
		do(func(s *Steering) error {
			answer, err := s.Ask(rule.TCP, netip.Addr{}, netip.AddrPortFrom(anycast6, 1))
			if err == nil && answer.Rule.Name != "rule" {
				err = fmt.Errorf("answer %+v", answer)
			}
			return errors.Join(err, errorOf(s.Counters()), errorOf(s.Generation()), errorOf(s.Slots()))
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	wantGeneration(t, s, 1+writers*rounds, 1)
}

// TestStaleNamespace loads after another namespace has ended: what it left is removed, what lives is not.
func TestStaleNamespace(t *testing.T) {
	w := newWorld(t)
	s := w.load()
	lab, err := netlab.Open()
	if err != nil {
		t.Fatal(err)
	}
	brief, err := lab.Add("brief")
	if err != nil {
		t.Fatal(err)
	}
	gone, err := Load(Options{Netns: brief.Path(), Bpffs: w.opts.Bpffs})
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	if err := lab.Close(); err != nil {
		t.Fatal(err)
	}
	netlab.Eventually(t, "the link is detached", func() bool {
		l, info, err := openLink(gone.dir)
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		return info.NetNs().NetnsInode == 0
	})
	third, err := netlab.New(t).Add("third")
	if err != nil {
		t.Fatal(err)
	}
	other, err := Load(Options{Netns: third.Path(), Bpffs: w.opts.Bpffs})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	// Inode numbers come round: then the third has taken the place of the one that ended.
	if _, err := os.Stat(gone.dir); !errors.Is(err, os.ErrNotExist) && gone.dir != other.dir {
		t.Errorf("directory of a namespace that ended: %v", err)
	}
	wantGeneration(t, other, 0, 0)
	wantGeneration(t, s, 0, 0)
	if err := other.Unload(); err != nil {
		t.Error(err)
	}
}

// TestModes checks who may use which pin.
func TestModes(t *testing.T) {
	const readers, owners = 1001, 1002
	for name, c := range map[string]struct {
		opts Options
		want map[string]uint32 // mode and group
	}{
		"default": {Options{}, map[string]uint32{
			"link": 0o600, "sockets": 0o600, "counters": 0o600, "samples": 0o600, "sampling": 0o600, "meta": 0o644,
			"generation-1/program": 0o600, "generation-1/rules": 0o600, "generation-1/actions": 0o600,
		}},
		"groups": {Options{Readers: readers, Owners: owners}, map[string]uint32{
			"link": 0o600, "sockets": 0o660, "counters": 0o640, "samples": 0o600, "sampling": 0o600, "meta": 0o644,
			"generation-1/program": 0o600, "generation-1/rules": 0o640, "generation-1/actions": 0o600,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.opts.Readers, w.opts.Owners = c.opts.Readers, c.opts.Owners
			w.load()
			s, err := Open(Options{Netns: w.opts.Netns, Bpffs: w.opts.Bpffs}) // the modes are those that Load was told
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			publish(t, s, steerAll())
			for pin, mode := range c.want {
				group := map[uint32]uint32{0o600: 0, 0o640: readers, 0o660: owners}[mode]
				var st unix.Stat_t
				err := unix.Stat(filepath.Join(s.dir, pin), &st)
				if err != nil || st.Mode&0o7777 != mode || st.Gid != group || st.Uid != 0 {
					t.Errorf("%s: mode %#o of %d:%d (%v), want %#o of 0:%d",
						pin, st.Mode&0o7777, st.Uid, st.Gid, err, mode, group)
				}
			}
		})
	}
}

// TestUnsafeBase finds a directory in the place of ours that somebody else has made, or may change.
func TestUnsafeBase(t *testing.T) {
	w := newWorld(t)
	base := w.opts.baseDir()
	for name, c := range map[string]struct {
		owner int
		mode  os.FileMode
	}{"of nobody": {nobody, 0o755}, "writable by all": {0, 0o777}} {
		if err := errors.Join(os.Mkdir(base, 0o755), os.Chown(base, c.owner, 0), os.Chmod(base, c.mode)); err != nil {
			t.Fatal(err)
		}
		for what, err := range map[string]error{
			"Load": errorOf(Load(w.opts)), "Open": errorOf(Open(w.opts)), "Unload": Unload(w.opts),
		} {
			if err == nil || !strings.Contains(err.Error(), "not safe") {
				t.Errorf("%s with a directory %s: %v", what, name, err)
			}
		}
		if err := os.Remove(base); err != nil {
			t.Fatal(err)
		}
	}
}

// TestMountsBpffs loads where no bpffs is mounted yet.
func TestMountsBpffs(t *testing.T) {
	w := newWorld(t)
	w.opts.Bpffs = t.TempDir()
	s, err := Load(w.opts)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if mounted, err := isBpffs(w.opts.Bpffs); err != nil || !mounted {
		t.Errorf("bpffs is mounted: %t, %v", mounted, err)
	}
	if err := errors.Join(s.Unload(), unix.Unmount(w.opts.Bpffs, 0)); err != nil {
		t.Error(err)
	}
}

// TestOptions checks what is refused at once.
func TestOptions(t *testing.T) {
	netlab.RequireRoot(t)
	for name, o := range map[string]Options{
		"no such namespace":    {Netns: "/run/netns/there-is-none"},
		"not a namespace":      {Netns: "/dev/null"},
		"another namespace":    {Netns: "/proc/self/ns/uts"},
		"negative MaxRules":    {MaxRules: -1},
		"huge MaxRules":        {MaxRules: mostRules + 1},
		"no such bpffs parent": {Bpffs: "/nonexistent/bpf"},
	} {
		t.Run(name, func(t *testing.T) {
			checkLeaks(t)
			if _, err := Load(o); err == nil {
				t.Error("Load took it")
			}
		})
	}
}

// TestCurrentNamespace loads with Options.Netns empty, in the thread's namespace.
func TestCurrentNamespace(t *testing.T) {
	w := newWorld(t)
	err := w.ns.Do(func() error {
		s, err := Load(Options{Bpffs: w.opts.Bpffs})
		if err != nil {
			return err
		}
		defer s.Close()
		if s.Namespace() != w.ns.Inode() {
			t.Errorf("loaded in namespace %d, want %d", s.Namespace(), w.ns.Inode())
		}
		answer, err := s.Ask(rule.TCP, netip.Addr{}, netip.AddrPortFrom(anycast4, 1))
		if err != nil || answer.Rule.Name != "(outside)" || answer.Verdict != rule.Pass {
			t.Errorf("an empty rule set: %+v, %v", answer, err)
		}
		return s.Unload()
	})
	if err != nil {
		t.Fatal(err)
	}
}
