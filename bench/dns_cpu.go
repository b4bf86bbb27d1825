package bench

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// memoryOf returns what processes take: each page divided by those who share it, and the most that one of them has ever
// had, in bytes (Pss of smaps_rollup, VmHWM of status, proc(5)).
func memoryOf(pids []int) (now, peak int64) {
	for _, pid := range pids {
		now += kilobytes(fmt.Sprintf("/proc/%d/smaps_rollup", pid), "Pss:")
		peak = max(peak, kilobytes(fmt.Sprintf("/proc/%d/status", pid), "VmHWM:"))
	}
	return now, peak
}

func kilobytes(path, key string) int64 {
	f, err := os.Open(path)
	if err != nil {
		return 0 // the process is gone
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if f := strings.Fields(lines.Text()); len(f) > 1 && f[0] == key {
			n, _ := strconv.ParseInt(f[1], 10, 64)
			return n << 10
		}
	}
	return 0
}

// dnsPriority makes server and client threads of real time (sched(7)), so that other work on the machine does not take
// their CPUs.
const dnsPriority = 1

// onDNSClientCPU runs fn on the client's CPU.
func onDNSClientCPU(fn func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlock: the thread ends with its priority and affinity
		var one unix.CPUSet
		one.Set(dnsClientCPU)
		realTime := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: dnsPriority}
		err := errors.Join(unix.SchedSetaffinity(0, &one), unix.SchedSetAttr(0, &realTime, 0))
		if err == nil {
			err = fn()
		}
		done <- err
	}()
	return <-done
}

// pinThreads puts all threads on the server's CPU: Knot spreads its own over all.
func pinThreads(pids []int) error {
	var one unix.CPUSet
	one.Set(dnsServerCPU)
	for _, pid := range pids {
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
		for _, path := range threads {
			tid, _ := strconv.Atoi(filepath.Base(path))
			if err := unix.SchedSetaffinity(tid, &one); err != nil && err != unix.ESRCH {
				return fmt.Errorf("set CPU affinity of thread %d: %w", tid, err)
			}
		}
	}
	return nil
}
