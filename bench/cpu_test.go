package bench

import (
	"os"
	"runtime"
	"testing"
	"time"
)

// TestCPUMeter burns CPU time and looks whether every clock has seen it.
func TestCPUMeter(t *testing.T) {
	const burnt, units = 60 * time.Millisecond, 3
	m := cpuMeter{processes: []int{os.Getpid()}, generators: []int{os.Getpid()}, cpus: 1}
	if err := m.start(); err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for before := threadTime(); threadTime()-before < burnt; {
		continue
	}
	c, err := m.stop(units)
	if err != nil {
		t.Fatal(err)
	}
	// The machine's clock does not count what a hypervisor gives to others, a process's does.
	if least := float64(burnt) / units * 0.9; c.Process < least || c.Machine < least/3 {
		t.Errorf("%+v, want at least %.0f ns a unit", c, least)
	}
	if c.Generator <= 0 {
		t.Errorf("the generator was busy for %v", c.Generator)
	}
}

// TestCPUMeterProcessGone does not take a process that has ended for one that costs nothing.
func TestCPUMeterProcessGone(t *testing.T) {
	m := cpuMeter{processes: []int{1 << 22}} // above any pid_max
	if err := m.start(); err == nil {
		t.Error("no error")
	}
}
