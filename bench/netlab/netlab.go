// Package netlab makes small networks out of kernel network namespaces, for tests and for benchmarks.
//
// A [Lab] owns named namespaces. They have no entry in the file system: an open descriptor alone keeps each of them
// alive, so that a process that is killed leaves nothing behind. [Namespace.Do] runs a function inside one,
// [Namespace.Command] and [Namespace.Start] run programs inside one (/sys and so /sys/fs/bpf stay the host's, which
// `ip netns exec` would hide), [Lab.Connect] joins two by a veth pair. [NewTrio] builds the usual line client - proxy -
// upstream.
//
// No namespace has a link to the host, so no packet can leave a Lab. [Lab.Close] kills what still runs in its
// namespaces and reports whatever else still holds on to one of them.
//
// In a test:
//
//	lab := netlab.NewTrio(t) // skips without root; closes and checks for leaks at the end
//	err := lab.Proxy.Do(func() error { ln, err = net.Listen("tcp", "198.18.0.1:80"); return err })
//	out, err := lab.Client.Command("curl", "http://198.18.0.1/").CombinedOutput()
package netlab

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Lab is a set of network namespaces. Its methods are safe for concurrent use. Make one with Open or New.
type Lab struct {
	starter *starter
	links   atomic.Int32 // counts the veth pairs

	mu     sync.Mutex // guards the fields below, and is held while starter works
	spaces []*Namespace
	procs  []*Process
	closed bool
}

// errClosed is returned for work on a Lab that has been closed.
var errClosed = errors.New("lab is closed")

// Open returns an empty lab, which the caller closes. It needs CAP_SYS_ADMIN and CAP_NET_ADMIN.
func Open() (*Lab, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("open lab: network namespaces need root")
	}
	return &Lab{starter: newStarter()}, nil
}

// New returns an empty lab for a test. It skips the test without root ([RequireRoot]), closes the lab when the test
// ends and fails the test if anything of the lab is left then.
func New(t TB) *Lab {
	t.Helper()
	RequireRoot(t)
	l, err := Open()
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("%v", err)
		}
	})
	return l
}

// grace is how long Connect waits for a link, and Close for killed processes and for sockets that are closing elsewhere.
const grace = 3 * time.Second

// Close kills every process in the lab's namespaces, lets the namespaces go and returns an error that names whatever
// still holds one of them: a process, a thread, a socket or a mount. A second call does nothing.
func (l *Lab) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	spaces, procs := l.spaces, l.procs
	l.mu.Unlock()

	inodes := make(map[uint64]string, len(spaces))
	for _, n := range spaces {
		inodes[n.inode] = n.name
	}
	l.starter.close() // nobody uses it once closed is set
	err := killAll(inodes, procs)
	for _, n := range spaces {
		err = errors.Join(err, n.file.Close())
	}
	if held := waitReleased(inodes); len(held) > 0 {
		err = errors.Join(err, fmt.Errorf("namespaces are still held by %q", held))
	}
	if err != nil {
		return fmt.Errorf("close lab: %w", err)
	}
	return nil
}

// killAll kills the processes of the namespaces until none is left, and waits for those that Start began. The latter
// are killed by their groups first: one may not have entered its namespace yet.
func killAll(inodes map[uint64]string, procs []*Process) error {
	for _, p := range procs {
		p.killGroup()
	}
	deadline := time.Now().Add(grace)
	for {
		pids := processesIn(inodes)
		if len(pids) == 0 {
			break
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("processes %v survived SIGKILL", pids)
		}
		for _, pid := range pids {
			_ = unix.Kill(pid, unix.SIGKILL) // it may be gone already
		}
		time.Sleep(pollInterval)
	}
	for _, p := range procs {
		<-p.done
	}
	return nil
}

// waitReleased returns what still holds the namespaces once nothing does or grace is over.
func waitReleased(inodes map[uint64]string) []string {
	deadline := time.Now().Add(grace)
	for {
		held := holders(inodes)
		if len(held) == 0 || time.Now().After(deadline) {
			return held
		}
		time.Sleep(pollInterval)
	}
}

// pollInterval is short against everything that is waited for here and long against a scan of /proc.
const pollInterval = 10 * time.Millisecond
