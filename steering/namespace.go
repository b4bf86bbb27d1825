package steering

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// currentNamespace is that of the calling thread, which need not be that of the process (network_namespaces(7)).
const currentNamespace = "/proc/thread-self/ns/net"

// namespace is an open network namespace.
type namespace struct {
	file  *os.File
	inode uint64 // by which bpf_link and /proc name it
}

// openNamespace opens the network namespace at path, or that of the calling thread for "".
func openNamespace(path string) (*namespace, error) {
	if path == "" {
		path = currentNamespace
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open network namespace: %w", err)
	}
	// NS_GET_NSTYPE (ioctl_ns(2)) tells a namespace from any other file.
	kind, err := unix.IoctlRetInt(int(file.Fd()), unix.NS_GET_NSTYPE)
	if err != nil || kind != unix.CLONE_NEWNET {
		file.Close()
		return nil, fmt.Errorf("open network namespace: %s is none", path)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err != nil {
		file.Close()
		return nil, fmt.Errorf("open network namespace: %w", err)
	}
	return &namespace{file: file, inode: st.Ino}, nil
}

func (n *namespace) close() error { return n.file.Close() }

func (n *namespace) fd() int { return int(n.file.Fd()) }

// isCurrent reports whether the calling thread is in the namespace.
func (n *namespace) isCurrent() bool {
	var st unix.Stat_t
	return unix.Stat(currentNamespace, &st) == nil && st.Ino == n.inode
}

// do runs fn on a thread in the namespace. Sockets that fn opens stay in it; goroutines that fn starts are not in it.
// Only to enter another namespace than the caller's does the process need CAP_SYS_ADMIN (setns(2)).
func (n *namespace) do(fn func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if n.isCurrent() {
		return fn()
	}
	done := make(chan error, 1)
	go n.doLocked(fn, done)
	return <-done
}

// doLocked enters the namespace and goes back. A thread that cannot go back stays locked, so that the runtime throws it
// away when the goroutine ends.
func (n *namespace) doLocked(fn func() error, done chan<- error) {
	runtime.LockOSThread()
	home, err := os.Open(currentNamespace)
	if err != nil {
		done <- fmt.Errorf("open network namespace: %w", err)
		return
	}
	defer home.Close()
	if err := unix.Setns(n.fd(), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		done <- fmt.Errorf("enter network namespace: %w", err)
		return
	}
	err = fn()
	if unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
		runtime.UnlockOSThread()
	}
	done <- err
}
