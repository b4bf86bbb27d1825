package steering

import (
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"anyport/bench/netlab"
	"anyport/conf/rule"
)

// world is a network namespace and a bpffs for one test.
type world struct {
	t    testing.TB
	lab  *netlab.Lab
	ns   *netlab.Namespace
	opts Options

	servers *servers // of the test, if it wants them here
}

// newWorld makes a world. When the test ends, nothing may be left in its bpffs but what the test put there on purpose.
func newWorld(t testing.TB) *world {
	t.Helper()
	netlab.RequireRoot(t)
	checkLeaks(t) // after the lab is closed: cleanups run backwards
	running := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, running) })
	lab := netlab.New(t)
	ns, err := lab.Add("steered")
	if err != nil {
		t.Fatal(err)
	}
	return &world{t: t, lab: lab, ns: ns, opts: Options{Netns: ns.Path(), Bpffs: newBpffs(t)}}
}

// newBpffs mounts a BPF file system where every user can get at it, unlike in t.TempDir.
func newBpffs(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "anyport-bpffs-")
	if err == nil {
		err = unix.Mount("bpf", dir, "bpf", 0, "mode=0711")
	}
	if err != nil {
		t.Fatalf("mount bpffs: %v", err)
	}
	t.Cleanup(func() {
		if err := errors.Join(unix.Unmount(dir, 0), os.Remove(dir)); err != nil {
			t.Errorf("unmount bpffs: %v", err)
		}
	})
	return dir
}

// checkLeaks fails the test if it ends with more descriptors than it began with.
func checkLeaks(t testing.TB) {
	before := openDescriptors(t)
	t.Cleanup(func() {
		for fd, target := range openDescriptors(t) {
			if _, ok := before[fd]; !ok {
				t.Errorf("descriptor %s leaked: %s", fd, target)
			}
		}
	})
}

func openDescriptors(t testing.TB) map[string]string {
	const dir = "/proc/self/fd"
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	open := make(map[string]string)
	for _, e := range entries {
		if target, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil { // ReadDir's own is gone by now
			open[e.Name()] = target
		}
	}
	return open
}

// load loads steering, and unloads it when the test ends; then nothing of it may be left.
func (w *world) load() *Steering {
	w.t.Helper()
	s, err := Load(w.opts)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := s.Unload(); err != nil {
			w.t.Error(err)
		}
		s.Close()
		w.wantNoPins()
	})
	return s
}

func (w *world) wantNoPins() {
	w.t.Helper()
	left, err := filepath.Glob(filepath.Join(w.opts.Bpffs, "anyport", "*"))
	if err != nil || len(left) > 0 {
		w.t.Errorf("pins are left: %q %v", left, err)
	}
}

// newRand returns a generator with a fresh seed, which it logs. SEED in the environment repeats a run.
func newRand(t *testing.T) *rand.Rand {
	t.Helper()
	return rand.New(rand.NewPCG(newSeed(t), 0))
}

// compile compiles a set that the test knows to be valid.
func compile(t testing.TB, set rule.Set) *rule.Table {
	t.Helper()
	table, err := rule.Compile(set)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// publish compiles and publishes a set.
func publish(t testing.TB, s *Steering, set rule.Set) Generation {
	t.Helper()
	g, err := s.Publish(compile(t, set))
	if err != nil {
		t.Fatal(err)
	}
	return g
}

var (
	prefix4 = netip.MustParsePrefix("198.18.0.0/20")
	prefix6 = netip.MustParsePrefix("2001:db8::/48")
)

// served is both families' prefix, sealed.
func served() []rule.Prefix { return []rule.Prefix{{Prefix: prefix4}, {Prefix: prefix6}} }

// steerAll is a set of one rule, which steers everything to service 0.
func steerAll() rule.Set {
	return rule.Set{Prefixes: served(), Rules: []rule.Rule{
		{Name: "all", Verdict: rule.Steer, Service: 0, Fallback: rule.NoService},
	}}
}

// home is where a socket for both families is bound.
const home = "[::ffff:127.0.0.1]:0"

// listen opens a dual-stack TCP listener in the namespace, without MPTCP, closed when the test ends.
func (w *world) listen(address string) *net.TCPListener {
	w.t.Helper()
	var l net.Listener
	err := w.ns.Do(func() (err error) {
		l, err = listenTCP(address)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { l.Close() })
	return l.(*net.TCPListener)
}

// listenPacket opens a dual-stack UDP socket in the namespace, closed when the test ends.
func (w *world) listenPacket(address string) *net.UDPConn {
	w.t.Helper()
	var c *net.UDPConn
	err := w.ns.Do(func() (err error) {
		c, err = listenUDP(address)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	return c
}

// assign puts the socket into a slot.
func assign(t testing.TB, s *Steering, service uint16, p rule.Protocol, conn syscall.Conn) {
	t.Helper()
	if err := s.Assign(service, p, conn); err != nil {
		t.Fatal(err)
	}
}
