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
	"time"

	"golang.org/x/sys/unix"
)

// groupPids returns the processes of a process group.
func groupPids(pgid int) []int {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	var pids []int
	for _, path := range stats {
		// proc_pid_stat(5): the fifth field, the third behind the command's closing parenthesis, is the group.
		text, _ := os.ReadFile(path) // the process may be gone
		_, rest, _ := strings.Cut(string(text), ") ")
		if f := strings.Fields(rest); len(f) > 2 && f[2] == strconv.Itoa(pgid) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			pids = append(pids, pid)
		}
	}
	return pids
}

// runTime returns the time that a process's threads have spent on a CPU, to the nanosecond (the first field of
// /proc/PID/task/TID/schedstat, Documentation/scheduler/sched-stats.rst).
func runTime(pids ...int) (total time.Duration, err error) {
	for _, pid := range pids {
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
		if len(threads) == 0 {
			return 0, fmt.Errorf("process %d is gone", pid)
		}
		for _, path := range threads {
			first, _, _ := strings.Cut(firstLine(path), " ")
			n, _ := strconv.ParseInt(first, 10, 64) // a thread that has just ended counts no more
			total += time.Duration(n)
		}
	}
	return total, nil
}

// softirqThreads returns the kernel threads that handle packets which no other thread's time covers.
func softirqThreads() []int {
	names, _ := filepath.Glob("/proc/[0-9]*/comm")
	var pids []int
	for _, path := range names {
		if strings.HasPrefix(firstLine(path), "ksoftirqd/") {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			pids = append(pids, pid)
		}
	}
	return pids
}

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
