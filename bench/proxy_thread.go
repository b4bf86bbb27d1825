package bench

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"anyport/bench/netlab"
)

// onCPU runs fn in a namespace on a thread that is bound to a CPU.
func onCPU(ns *netlab.Namespace, cpu int, fn func() error) error {
	return ns.Do(func() (err error) {
		var before, one unix.CPUSet
		if err := unix.SchedGetaffinity(0, &before); err != nil {
			return fmt.Errorf("read CPU affinity: %w", err)
		}
		one.Set(cpu)
		if err := unix.SchedSetaffinity(0, &one); err != nil {
			return fmt.Errorf("set CPU affinity: %w", err)
		}
		defer func() { err = errors.Join(err, unix.SchedSetaffinity(0, &before)) }()
		return fn()
	})
}

// onEachCPU runs fn for each of n parts of a load, the first ones on different CPUs, at once, and waits for all.
func onEachCPU(ns *netlab.Namespace, n int, fn func(part int) error) error {
	var g errgroup.Group
	for part := range n {
		g.Go(func() error { return onCPU(ns, part%proxyThreads, func() error { return fn(part) }) })
	}
	return g.Wait()
}

// quiet keeps Go's collector out of the measurement that follows.
func quiet() { runtime.GC() }

// rawRead and rawWrite are read(2) and write(2) on a non-blocking descriptor, without what Go does around system calls
// that may take long.
func rawRead(fd int, p []byte) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
	return int(n), errno
}

func rawWrite(fd int, p []byte) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
	return int(n), errno
}
