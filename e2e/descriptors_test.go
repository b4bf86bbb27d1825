package e2e

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"regexp"
	"sync"
	"testing"

	"anyport/bench/netlab"
)

// TestDescriptorExhaustion gives anyport few file descriptors and opens more connections than these allow, twice. It
// must not end, must have descriptors left for its operator, and must serve again as soon as connections close.
func TestDescriptorExhaustion(t *testing.T) {
	netlab.RequireRoot(t)
	netlab.RequireProgram(t, "prlimit")
	w := newWorld(t)
	w.upstreams(7000, echoAs("upstream"))
	config := w.file("anyport.toml", prefixes+"[[route]]\nupstream = [\"10.2.0.2:7000\"]\n")
	const limit = 128
	d := w.start(w.Proxy.Command("prlimit", fmt.Sprintf("--nofile=%d", limit), binaryPath, "run", "-c", config))

	for _, f := range families {
		to := withPort(f.address(w.rng), 4242)
		conns := w.hold(to, limit)
		waitFor(t, "anyport to run out of descriptors", func() bool { return descriptors(t, d.Pid()) >= limit*7/8-1 })
		if text := w.metrics("/metrics"); !refusedForWant.MatchString(text) {
			t.Errorf("no connection is counted as refused for want of a descriptor:\n%s", text)
		}
		closeAll(conns)
		waitFor(t, "anyport to serve again", func() bool {
			return tryEcho(w.Client, to, "upstream\n", []byte("hello")) == nil
		})
		checkGreeting(t, w, f.destination(w.rng), "upstream")
	}
}

// refusedForWant is a counter of connections that found no descriptor left, which is not zero.
var refusedForWant = regexp.MustCompile(`(?m)^anyport_connections_ended_total\{.*reason="no_descriptor".*\} [1-9]`)

// hold opens connections, those that fail left out, and keeps them open.
func (w *world) hold(to netip.AddrPort, n int) []net.Conn {
	var (
		group sync.WaitGroup
		conns = make([]net.Conn, n)
	)
	for i := range conns {
		group.Go(func() {
			if c, err := dial(w.Client, to); err == nil {
				conns[i] = c
			}
		})
	}
	group.Wait()
	return conns
}

func closeAll(conns []net.Conn) {
	for _, c := range conns {
		if c != nil {
			c.Close()
		}
	}
}

func descriptors(t *testing.T, pid int) int {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
