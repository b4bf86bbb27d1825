package netlab

import (
	"fmt"
	"os"
	"runtime"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Namespace is one network namespace of a Lab. It has its loopback up and IPv6 without duplicate address detection,
// so that addresses work at once.
type Namespace struct {
	lab   *Lab
	name  string
	file  *os.File // keeps the namespace alive
	inode uint64
}

// Add makes a namespace. The name is for messages only and should be unique in the lab.
func (l *Lab) Add(name string) (*Namespace, error) {
	file, err := newNamespaceFile()
	if err != nil {
		return nil, fmt.Errorf("make namespace %s: %w", name, err)
	}
	n := &Namespace{lab: l, name: name, file: file}
	if n.inode, err = inodeOf(file); err == nil {
		err = n.initialise()
	}
	if err == nil {
		err = l.own(n)
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("make namespace %s: %w", name, err)
	}
	return n, nil
}

func (l *Lab) own(n *Namespace) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return errClosed
	}
	l.spaces = append(l.spaces, n)
	return nil
}

// newNamespaceFile returns a descriptor of a fresh network namespace that nothing else refers to.
func newNamespaceFile() (file *os.File, err error) {
	err = onOwnThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("unshare: %w", err)
		}
		file, err = os.Open(threadNamespace)
		return err
	})
	return file, err
}

func inodeOf(f *os.File) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return 0, fmt.Errorf("stat %s: %w", f.Name(), err)
	}
	return st.Ino, nil
}

func (n *Namespace) initialise() error {
	for _, key := range []string{"all", "default"} {
		for _, setting := range []string{"accept_dad=0", "dad_transmits=0", "router_solicitations=0"} {
			k, v, _ := strings.Cut(setting, "=")
			if err := n.Sysctl("net.ipv6.conf."+key+"."+k, v); err != nil {
				return err
			}
		}
	}
	return n.Do(func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return fmt.Errorf("find lo: %w", err)
		}
		return netlink.LinkSetUp(lo)
	})
}

// Name returns the name that the namespace was made with.
func (n *Namespace) Name() string { return n.name }

// Inode returns the number that identifies the namespace on this host, as in `readlink /proc/PID/ns/net`.
func (n *Namespace) Inode() uint64 { return n.inode }

// Path returns a path that other processes, too, can open to enter the namespace (setns(2), `nsenter --net=PATH`). It
// is valid until the lab is closed.
func (n *Namespace) Path() string {
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), n.file.Fd())
}

// Do runs fn in the namespace, on a thread of its own, and returns its error. Sockets that fn opens stay in the
// namespace when they are used outside; goroutines that fn starts do not run in it. t.FailNow inside fn ends the
// calling test.
func (n *Namespace) Do(fn func() error) error {
	return onOwnThread(func() error {
		if err := unix.Setns(int(n.file.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter namespace %s: %w", n.name, err)
		}
		return fn()
	})
}

const threadNamespace = "/proc/thread-self/ns/net"

// onOwnThread runs fn on a goroutine that is locked to its thread. The thread is put back into the namespace it came
// from, or thrown away if that fails. A panic or Goexit in fn goes on in the caller.
func onOwnThread(fn func() error) error {
	var (
		err      error
		panicked any
		returned bool
		done     = make(chan struct{})
	)
	go func() {
		defer close(done)
		defer func() { panicked = recover() }()
		runtime.LockOSThread()
		home, openErr := os.Open(threadNamespace)
		if openErr != nil {
			err, returned = openErr, true
			return
		}
		defer home.Close()
		defer func() {
			if unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
				runtime.UnlockOSThread()
			}
		}()
		err = fn()
		returned = true
	}()
	<-done
	if panicked != nil {
		panic(panicked)
	}
	if !returned {
		runtime.Goexit()
	}
	return err
}
