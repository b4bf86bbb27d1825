package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// cpuMeter reads CPU clocks around a measurement. The zero value reads that of the whole machine alone.
type cpuMeter struct {
	processes  []int // of the proxy or server that is measured
	generators []int // processes that make load
	cpus       int   // that the generators may keep busy
	before     cpuClocks
}

// cpuClocks are CPU times, and the time at which they were read.
type cpuClocks struct {
	at                          time.Time
	machine, process, generator time.Duration
}

// start begins a measurement.
func (m *cpuMeter) start() (err error) {
	m.before, err = m.read()
	return err
}

// stop ends it and returns what each of the units of work has cost.
func (m *cpuMeter) stop(units int) (c Cost, err error) {
	after, err := m.read()
	if err != nil {
		return c, err
	}
	c.Machine = float64(after.machine-m.before.machine) / float64(units)
	c.Process = float64(after.process-m.before.process) / float64(units)
	if m.cpus > 0 {
		wall := after.at.Sub(m.before.at) * time.Duration(m.cpus)
		c.Generator = float64(after.generator-m.before.generator) / float64(wall)
	}
	return c, nil
}

func (m *cpuMeter) read() (c cpuClocks, err error) {
	if c.process, err = runTime(m.processes...); err != nil {
		return c, err
	}
	if c.generator, err = runTime(m.generators...); err != nil {
		return c, err
	}
	c.machine, err = machineTime()
	c.at = time.Now()
	return c, err
}

// runTime returns the CPU time of processes to the nanosecond, that of their threads which have ended included. The
// clock of another process is made as by clock_getcpuclockid(3).
func runTime(pids ...int) (total time.Duration, err error) {
	const scheduled = 2 // CPUCLOCK_SCHED, include/linux/posix-timers_types.h
	for _, pid := range pids {
		var ts unix.Timespec
		if err := unix.ClockGettime(int32(^pid<<3|scheduled), &ts); err != nil {
			return 0, fmt.Errorf("read the CPU clock of process %d: %w", pid, err)
		}
		total += time.Duration(ts.Nano())
	}
	return total, nil
}

// clockTick is the unit of /proc/stat, USER_HZ: 100 a second on every architecture that Go supports.
const clockTick = time.Second / 100

// machineTime returns the time that all CPUs have not been idle, to a clockTick. The kernel counts idle time by its
// clock and busy time by samples (kernel/time/tick-sched.c, Linux 6.18), so the one is taken from the time that passes.
func machineTime() (time.Duration, error) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return 0, fmt.Errorf("read the time since boot: %w", err)
	}
	// proc_stat(5): user, nice, system, idle, iowait, irq, softirq, steal.
	fields := strings.Fields(firstLine("/proc/stat"))
	if len(fields) < 9 {
		return 0, fmt.Errorf("read /proc/stat: %q", fields)
	}
	busy := time.Duration(now.Nano()) * time.Duration(runtime.NumCPU())
	for _, i := range []int{4, 5, 8} {
		ticks, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read /proc/stat: %w", err)
		}
		busy -= time.Duration(ticks) * clockTick
	}
	return busy, nil
}

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

// threadTime is the CPU time of the calling thread. Receiving in a system call counts as the thread's own time, and
// other processes on the machine do not count.
func threadTime() time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts) // cannot fail with this clock
	return time.Duration(ts.Nano())
}
