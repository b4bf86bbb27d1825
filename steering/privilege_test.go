package steering

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"anyport/conf/rule"
)

const (
	nobody       = 65534
	readersGroup = 1001
	ownersGroup  = 1002
)

// asNobody runs fn in the world's namespace on a thread of a user without capabilities, in one group.
func (w *world) asNobody(group int, fn func() error) error {
	return w.withCredentials(func() error { return becomeNobody(group) }, fn)
}

// withCredentials runs fn in the world's namespace on a thread whose credentials change has changed. The thread is
// never used again.
func (w *world) withCredentials(change, fn func() error) error {
	ns, err := openNamespace(w.opts.Netns)
	if err != nil {
		return err
	}
	defer ns.close()
	done := make(chan error, 1)
	go runAndForgetThread(ns, change, fn, done)
	return <-done
}

func runAndForgetThread(ns *namespace, change, fn func() error, done chan<- error) {
	runtime.LockOSThread()              // and never unlock: the thread ends with the goroutine
	if unix.Gettid() == unix.Getpid() { // the main thread would not: as long as it is kept here, others are used
		other := make(chan error, 1)
		go runAndForgetThread(ns, change, fn, other)
		done <- <-other
		runtime.UnlockOSThread()
		return
	}
	if err := errors.Join(unix.Setns(ns.fd(), unix.CLONE_NEWNET), change()); err != nil {
		done <- err
		return
	}
	done <- fn()
}

// becomeNobody changes the credentials of the calling thread alone, which the wrappers of package unix do not.
func becomeNobody(group int) error {
	groups := []uint32{uint32(group)}
	for _, call := range [][4]uintptr{
		{unix.SYS_SETGROUPS, 1, uintptr(unsafe.Pointer(&groups[0])), 0},
		{unix.SYS_SETRESGID, nobody, nobody, nobody},
		{unix.SYS_SETRESUID, nobody, nobody, nobody},
	} {
		if _, _, errno := unix.RawSyscall(call[0], call[1], call[2], call[3]); errno != 0 {
			return fmt.Errorf("drop privilege: %w", errno)
		}
	}
	runtime.KeepAlive(groups)
	return nil
}

// TestReaders reads rules and counters as nobody in the right group, and in none.
func TestReaders(t *testing.T) {
	w := newWorld(t)
	w.opts.Readers, w.opts.Owners = readersGroup, ownersGroup
	s := w.load()
	w.makeLocal(prefix4, prefix6)
	publish(t, s, verdictSet(rule.Refuse))
	for _, addr := range families {
		if who := newServers(t).who(w.ns, rule.UDP, netip.Addr{}, netip.AddrPortFrom(addr, 7)); who != refused {
			t.Fatalf("met %q", who)
		}
	}
	here := Options{Bpffs: w.opts.Bpffs}
	err := w.asNobody(readersGroup, func() error {
		r, err := Open(here)
		if err != nil {
			return err
		}
		defer r.Close()
		list, err := r.Counters()
		if err != nil || len(list) != 4 || list[3].Name != "all" || list[3].Counters[Refused] != 2 {
			t.Errorf("counters as a reader: %+v, %v", list, err)
		}
		g, err := r.Generation()
		if err != nil || g.Number != 1 || g.Rules != 1 {
			t.Errorf("generation as a reader: %+v, %v", g, err)
		}
		for what, err := range map[string]error{
			"Slots":   errorOf(r.Slots()),
			"Publish": errorOf(r.Publish(compile(t, steerAll()))),
			"Twin":    errorOf(r.Twin()),
			"Samples": errorOf(r.Samples()),
			"Unload":  r.Unload(),
		} {
			wantNoPrivilege(t, what+" as a reader", err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	err = w.asNobody(nobody, func() error {
		r, err := Open(here)
		if err != nil {
			return err
		}
		defer r.Close()
		wantNoPrivilege(t, "Counters as nobody", errorOf(r.Counters()))
		wantNoPrivilege(t, "Rules as nobody", errorOf(r.Rules()))
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// wantNoPrivilege checks that err says that privilege is lacking, and what to do.
func wantNoPrivilege(t *testing.T, what string, err error) {
	t.Helper()
	var privilege *PrivilegeError
	if !errors.Is(err, os.ErrPermission) || !errors.As(err, &privilege) || Hint(err) == "" {
		t.Errorf("%s: %v", what, err)
	}
}

// TestOwners puts a socket of nobody's into a slot: membership in the group is the right to receive the traffic.
func TestOwners(t *testing.T) {
	w := newWorld(t)
	w.opts.Readers, w.opts.Owners = readersGroup, ownersGroup
	s := w.load()
	w.makeLocal(prefix4, prefix6)
	all := newServers(t)
	publish(t, s, steerAll())
	l := w.listen(home)
	all.tcp("nobody", l)
	here := Options{Bpffs: w.opts.Bpffs}
	err := w.asNobody(ownersGroup, func() error {
		o, err := Open(here)
		if err != nil {
			return err
		}
		defer o.Close()
		if err := o.Assign(0, rule.TCP, l); err != nil {
			return err
		}
		list, err := o.Slots()
		if err != nil || len(list) != 1 || list[0].Service != 0 || list[0].Protocol != rule.TCP {
			t.Errorf("slots as an owner: %+v, %v", list, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, addr := range families {
		if who := all.who(w.ns, rule.TCP, netip.Addr{}, netip.AddrPortFrom(addr, 7)); who != "nobody" {
			t.Errorf("%s met %q", addr, who)
		}
	}
	err = w.asNobody(readersGroup, func() error {
		wantNoPrivilege(t, "Assign as a reader", s.Assign(0, rule.TCP, l))
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestLoadWithoutPrivilege loads as nobody.
func TestLoadWithoutPrivilege(t *testing.T) {
	w := newWorld(t)
	err := w.asNobody(nobody, func() error {
		wantNoPrivilege(t, "Load as nobody", errorOf(Load(Options{Bpffs: w.opts.Bpffs})))
		wantNoPrivilege(t, "Probe as nobody", Probe())
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestCapabilities does everything as root that has no more than CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN, with bpffs
// mounted.
func TestCapabilities(t *testing.T) {
	w := newWorld(t)
	l := w.listen(home)
	few := func() error { return keepOnly(unix.CAP_BPF, unix.CAP_PERFMON, unix.CAP_NET_ADMIN) }
	err := w.withCredentials(few, func() error {
		if err := Probe(); err != nil {
			return err
		}
		s, err := Load(Options{Bpffs: w.opts.Bpffs})
		if err != nil {
			return err
		}
		defer s.Close()
		routes, err := OpenLocalRoutes(LocalRouteOptions{})
		if err != nil {
			return err
		}
		defer routes.Close()
		if err := routes.Sync([]netip.Prefix{prefix4, prefix6}); err != nil {
			return err
		}
		for what, err := range map[string]error{
			"Publish":  errorOf(s.Publish(compile(t, steerAll()))),
			"Assign":   s.Assign(0, rule.TCP, l),
			"Slots":    errorOf(s.Slots()),
			"Ask":      errorOf(s.Ask(rule.TCP, netip.Addr{}, netip.AddrPortFrom(anycast4, 7))),
			"Counters": errorOf(s.Counters()),
			"Foreign":  errorOf(s.ForeignPrograms()),
			"Upgrade":  errorOf(s.Upgrade()),
			"Lost":     errorOf(s.SamplesLost()),
			"Rate":     s.SetSampleRate(5),
			"Remove":   routes.Remove(),
		} {
			if err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
		return s.Unload()
	})
	if err != nil {
		t.Error(err)
	}
}

// keepOnly drops all capabilities of the calling thread but these.
func keepOnly(caps ...int) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	for _, c := range caps {
		data[c/32].Effective |= 1 << (c % 32)
		data[c/32].Permitted |= 1 << (c % 32)
	}
	return unix.Capset(&header, &data[0])
}
