package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"anyport/bench"
	"anyport/bench/netlab"
)

// marker is an environment variable that every process of a run inherits.
const marker = "ANYPORT_BENCH_TEST_RUN"

// TestInterruptLeavesNothing presses Ctrl-C in the middle of each suite (the first with -short). It runs in a namespace of its own, which stands
// for the host: whatever else happens on the machine is not taken for what is left.
func TestInterruptLeavesNothing(t *testing.T) {
	host := netlab.New(t)
	bin := t.TempDir()
	if err := netlab.MakeBinaries(bin); err != nil {
		t.Fatal(err)
	}
	suites := bench.Suites
	if testing.Short() {
		suites = suites[:1]
	}
	for _, suite := range suites {
		t.Run(suite.Name, func(t *testing.T) {
			ns, err := host.Add("host of " + suite.Name)
			if err != nil {
				t.Fatal(err)
			}
			before := links(t, ns)
			r := startRun(t, ns, filepath.Join(bin, "anyport-bench"), suite.Name)
			r.waitFor("round 1 of ")
			spaces := r.namespaces(ns)
			if len(spaces) < 2 {
				t.Errorf("the run has %d namespaces in its first round", len(spaces))
			}
			if err := r.Signal(syscall.SIGINT); err != nil {
				t.Fatal(err)
			}
			r.checkEnd()
			checkGone(t, r.mark, spaces)
			if after := links(t, ns); after != before {
				t.Errorf("links are\n%swere\n%s", after, before)
			}
			for _, dir := range []string{r.tmp, r.out} {
				if left, _ := os.ReadDir(dir); len(left) > 0 {
					t.Errorf("files are left: %v", left)
				}
			}
		})
	}
}

// benchRun is a run of a suite.
type benchRun struct {
	*netlab.Process
	t              *testing.T
	mark, tmp, out string
}

func startRun(t *testing.T, ns *netlab.Namespace, program, suite string) *benchRun {
	t.Helper()
	r := &benchRun{t: t, tmp: t.TempDir(), out: t.TempDir()}
	r.mark = fmt.Sprintf("%s=%d-%s", marker, os.Getpid(), suite)
	cmd := ns.Command(program, suite, "--quick", "--out", r.out)
	cmd.Env = append(os.Environ(), r.mark, "TMPDIR="+r.tmp)
	var err error
	if r.Process, err = ns.StartCmd(cmd); err != nil {
		t.Fatal(err)
	}
	return r
}

// patience is how long a run may take to its first round on a machine that does other things too.
const patience = 3 * time.Minute

func (r *benchRun) waitFor(text string) {
	r.t.Helper()
	for end := time.Now().Add(patience); !strings.Contains(r.Output(), text); time.Sleep(time.Millisecond) {
		select {
		case <-r.Done():
			r.t.Fatalf("it has ended without %q:\n%s", text, r.Output())
		default:
		}
		if time.Now().After(end) {
			r.t.Fatalf("no %q after %v:\n%s", text, patience, r.Output())
		}
	}
}

// checkEnd waits for the end of the run, which tells of the interrupt and of nothing that it could not take away.
func (r *benchRun) checkEnd() {
	r.t.Helper()
	if code := r.ExitCode(); code != 1 {
		r.t.Errorf("exit status %d, want 1", code)
	}
	_, failure, _ := strings.Cut(r.Output(), "anyport-bench: error: ")
	if !strings.Contains(failure, "interrupt") || strings.Count(failure, "\n") != 1 {
		r.t.Errorf("it said\n%s", r.Output())
	}
}

// namespaces returns the network namespaces that the run holds, besides that of its host. They are kept open until the
// test ends: the number of one that is gone may be another's at once.
func (r *benchRun) namespaces(host *netlab.Namespace) (spaces []string) {
	own := fmt.Sprintf("net:[%d]", host.Inode())
	for _, link := range globbed(fmt.Sprintf("/proc/%d/fd/*", r.Pid())) {
		target, err := os.Readlink(link)
		if err != nil || !strings.HasPrefix(target, "net:[") || target == own || slices.Contains(spaces, target) {
			continue
		}
		f, err := os.Open(link)
		if err != nil {
			r.t.Fatal(err)
		}
		r.t.Cleanup(func() { f.Close() })
		spaces = append(spaces, target)
	}
	return spaces
}

// checkGone looks for processes with the mark, for whatever holds one of the namespaces but this test, and for pins of
// them.
func checkGone(t *testing.T, mark string, spaces []string) {
	t.Helper()
	for _, path := range globbed("/proc/[0-9]*/environ") {
		if env, _ := os.ReadFile(path); slices.Contains(strings.Split(string(env), "\x00"), mark) {
			t.Errorf("%s is of a process that is left", path)
		}
	}
	self := fmt.Sprintf("/proc/%d/", os.Getpid())
	for _, link := range slices.Concat(globbed("/proc/[0-9]*/ns/net"), globbed("/proc/[0-9]*/fd/*")) {
		target, err := os.Readlink(link)
		if err == nil && slices.Contains(spaces, target) && !strings.HasPrefix(link, self) {
			t.Errorf("%s holds %s", link, target)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for _, space := range spaces {
		if strings.Contains(string(mounts), space) {
			t.Errorf("%s is mounted", space)
		}
		inode := strings.TrimSuffix(strings.TrimPrefix(space, "net:["), "]")
		for _, pin := range globbed("/sys/fs/bpf/anyport/*" + inode + "*") {
			t.Errorf("pin %s is left", pin)
		}
	}
}

func globbed(pattern string) []string {
	found, _ := filepath.Glob(pattern) // the pattern is valid
	return found
}

// links tells what interfaces a namespace has.
func links(t *testing.T, ns *netlab.Namespace) string {
	t.Helper()
	out, err := ns.Command("ip", "-o", "link", "show").Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
