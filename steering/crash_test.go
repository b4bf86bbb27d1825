package steering

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"anyport/conf/rule"
)

// The tests here end an operation before each of its steps, by an error or by the death of the process, and look at
// what is left: it must be the state before the operation or the one after it, and whatever comes next must work.

// Environment of the child process that is to die.
const (
	crashOperation = "STEERING_CRASH_OPERATION"
	crashStep      = "STEERING_CRASH_STEP"
	crashNetns     = "STEERING_CRASH_NETNS"
	crashBpffs     = "STEERING_CRASH_BPFFS"
)

// operations are what can be interrupted. Publish makes generation 2 out of generation 1.
var operations = map[string]func(testing.TB, Options) error{
	"load":    func(_ testing.TB, o Options) error { return closing(Load(o)) },
	"publish": func(t testing.TB, o Options) error { return withOpen(o, publishing(compile(t, setFor("new", 1)))) },
	"upgrade": func(_ testing.TB, o Options) error {
		return withOpen(o, func(s *Steering) error { return errorOf(s.Upgrade()) })
	},
	"unload": func(_ testing.TB, o Options) error { return Unload(o) },
}

func closing(s *Steering, err error) error {
	if err != nil {
		return err
	}
	return s.Close()
}

func withOpen(o Options, do func(*Steering) error) error {
	s, err := Open(o)
	if err != nil {
		return err
	}
	s.opts.before = o.before
	return errors.Join(do(s), s.Close())
}

func publishing(table *rule.Table) func(*Steering) error {
	return func(s *Steering) error { return errorOf(s.Publish(table)) }
}

// setFor is a rule set that steers everything to one service by a rule of this name.
func setFor(name string, service uint16) rule.Set {
	set := steerAll()
	set.Rules[0].Name, set.Rules[0].Service = name, service
	return set
}

// TestCrashChild is the child process.
func TestCrashChild(t *testing.T) {
	operation := os.Getenv(crashOperation)
	if operation == "" {
		return // not a child
	}
	last, err := strconv.Atoi(os.Getenv(crashStep))
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Netns: os.Getenv(crashNetns), Bpffs: os.Getenv(crashBpffs)}
	o.before = func(step string) error {
		if last--; last < 0 {
			fmt.Println("dies before:", step)
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
		return nil
	}
	if err := operations[operation](t, o); err != nil {
		t.Fatal(err)
	}
}

// crash runs an operation in a process that dies before step n, whose name it returns, or "" if it got to the end.
func (w *world) crash(operation string, n int) string {
	w.t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^TestCrashChild$", "-test.count=1")
	child.Env = append(os.Environ(), crashOperation+"="+operation, crashStep+"="+strconv.Itoa(n),
		crashNetns+"="+w.opts.Netns, crashBpffs+"="+w.opts.Bpffs)
	out, err := child.CombinedOutput()
	if err == nil {
		return ""
	}
	_, step, died := strings.Cut(strings.TrimSpace(string(out)), "dies before: ")
	if !died {
		w.t.Fatalf("%s: child failed: %v\n%s", operation, err, out)
	}
	return step
}

// fail runs an operation whose step n fails, and returns the step's name, or "" if it got to the end.
func (w *world) fail(operation string, n int) string {
	w.t.Helper()
	failure := errors.New("injected failure")
	var failed string
	o := w.opts
	o.before = func(step string) error {
		if n--; n < 0 {
			failed = step
			return failure
		}
		return nil
	}
	err := operations[operation](w.t, o)
	if failed != "" && !errors.Is(err, failure) || failed == "" && err != nil {
		w.t.Fatalf("%s with a failure before %q: %v", operation, failed, err)
	}
	return failed
}

// interrupted calls check for each step of an operation, with the state as its failure or the death there leaves it.
// prepare makes the state before the operation.
func interrupted(t *testing.T, operation string, prepare func(*world), check func(w *world, how, step string)) {
	for how, stop := range map[string]func(*world, string, int) string{"fails": (*world).fail, "dies": (*world).crash} {
		t.Run(how, func(t *testing.T) {
			w := newWorld(t)
			for n := 0; ; n++ {
				prepare(w)
				step := stop(w, operation, n)
				check(w, how, step)
				if t.Failed() {
					t.Fatalf("%s %s before step %q", operation, how, step)
				}
				if step == "" {
					t.Logf("%s has %d steps", operation, n)
					break
				}
			}
			w.unloadIfLoaded()
			w.wantNoPins()
		})
	}
}

func (w *world) unloadIfLoaded() {
	w.t.Helper()
	if err := Unload(w.opts); err != nil && !errors.Is(err, ErrNotLoaded) {
		w.t.Fatal(err)
	}
}

// attached returns how many sk_lookup programs the namespace has.
func (w *world) attached() int {
	w.t.Helper()
	ns, err := openNamespace(w.opts.Netns)
	if err != nil {
		w.t.Fatal(err)
	}
	defer ns.close()
	result, err := link.QueryPrograms(link.QueryOptions{Target: ns.fd(), Attach: ebpf.AttachSkLookup})
	if err != nil {
		w.t.Fatal(err)
	}
	return len(result.Programs)
}

// wantLoaded checks that steering is loaded and attached, or that it is neither.
func (w *world) wantLoaded(loaded bool) {
	w.t.Helper()
	s, err := Open(w.opts)
	if err == nil {
		s.Close()
	} else if !errors.Is(err, ErrNotLoaded) {
		w.t.Fatal(err)
	}
	if n := w.attached(); (n == 1) != loaded || (err == nil) != loaded {
		w.t.Errorf("%d programs are attached, Open says %v; want loaded: %t", n, err, loaded)
	}
}

func TestLoadInterrupted(t *testing.T) {
	interrupted(t, "load", (*world).unloadIfLoaded, func(w *world, how, step string) {
		w.wantLoaded(step == "")
		if how == "fails" && step != "" {
			w.wantNoPins()
		}
		s, err := LoadOrOpen(w.opts)
		if err != nil {
			w.t.Fatal(err)
		}
		defer s.Close()
		publish(w.t, s, steerAll())
	})
}

func TestUnloadInterrupted(t *testing.T) {
	prepare := func(w *world) {
		s, err := LoadOrOpen(w.opts)
		if err != nil {
			w.t.Fatal(err)
		}
		s.Close()
	}
	interrupted(t, "unload", prepare, func(w *world, _, step string) {
		w.wantLoaded(step == "detach")
		if step == "" {
			w.wantNoPins()
			return
		}
		if err := Unload(w.opts); err != nil {
			w.t.Errorf("Unload after an interrupted one: %v", err)
		}
		w.wantLoaded(false)
		w.wantNoPins()
	})
}

func TestPublishInterrupted(t *testing.T) {
	interrupted(t, "publish", prepareOld(t), func(w *world, how, step string) {
		live := w.wantWhole(map[string]uint16{"old": 0, "new": 1})
		if wantNew := step == "" || step == "remove old generation"; (live == "new") != wantNew {
			w.t.Errorf("%q is live", live)
		}
		w.wantLeftovers(how, step)
	})
}

func TestUpgradeInterrupted(t *testing.T) {
	interrupted(t, "upgrade", prepareOld(t), func(w *world, how, step string) {
		w.wantWhole(map[string]uint16{"old": 0})
		w.wantLeftovers(how, step)
	})
}

// prepareOld returns a function that publishes the rule "old" to start from, with servers to reach.
func prepareOld(t *testing.T) func(*world) {
	var all *servers
	return func(w *world) {
		s, err := LoadOrOpen(w.opts)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if all == nil || all.t != w.t {
			all = newServers(w.t)
			w.makeLocal(prefix4, prefix6)
			w.serve(s, all, 0, "old")
			w.serve(s, all, 1, "new")
			w.servers = all
		}
		publish(t, s, setFor("old", 0))
	}
}

// wantWhole checks that packets, the pins and the list of rules agree on one of the sets, whose rule it returns.
func (w *world) wantWhole(services map[string]uint16) string {
	w.t.Helper()
	s, err := Open(w.opts)
	if err != nil {
		w.t.Fatal(err)
	}
	defer s.Close()
	rules, err := s.Rules()
	if err != nil {
		w.t.Fatal(err)
	}
	live := rules[len(rules)-1]
	if service, ok := services[live.Name]; !ok || live.Service != service || len(rules) != int(firstID)+1 {
		w.t.Fatalf("rules: %+v", rules)
	}
	for _, addr := range families {
		to := netip.AddrPortFrom(addr, 4242)
		for _, p := range both {
			answer, err := s.Ask(p, netip.Addr{}, to)
			if err != nil || answer.Rule.Name != live.Name || answer.By != live.Service {
				w.t.Errorf("%s %s: twin says %+v, %v; live is %q", p, to, answer, err, live.Name)
			}
			if who := w.servers.who(w.ns, p, netip.Addr{}, to); who != live.Name {
				w.t.Errorf("%s %s reached %q, live is %q", p, to, who, live.Name)
			}
		}
	}
	return live.Name
}

// wantLeftovers checks that a failure cleaned up after itself, and that the next publication cleans up after a death.
func (w *world) wantLeftovers(how, step string) {
	w.t.Helper()
	s, err := Open(w.opts)
	if err != nil {
		w.t.Fatal(err)
	}
	defer s.Close()
	if how == "dies" || step == "remove old generation" {
		publish(w.t, s, setFor("old", 0))
	}
	left, err := filepath.Glob(filepath.Join(s.dir, generationPrefix+"*"))
	if err != nil || len(left) != 1 {
		w.t.Errorf("generations left: %q, %v", left, err)
	}
}
