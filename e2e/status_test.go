package e2e

import (
	"encoding/json"
	"strings"
	"testing"
)

// statusReport is the part of `anyport status --json` that is checked here.
type statusReport struct {
	Kernel *struct {
		Netns      uint64
		Generation struct{ Rules int }
		Sockets    []struct{ Service, Protocol string }
		Rules      []struct {
			Name     string
			Counters map[string]uint64
		}
		Foreign []any `json:"foreign_programs"`
	}
	Daemon *struct {
		PID      int
		Config   string
		Prefixes []struct {
			Prefix     string
			Open       bool
			LocalRoute bool `json:"local_route"`
		}
		Names  []nameStatus
		Routes []struct {
			Name      string
			Upstreams []upstreamStatus
			TCP, UDP  struct {
				Opened, Active uint64
				BytesIn        uint64 `json:"bytes_in"`
				BytesOut       uint64 `json:"bytes_out"`
			}
		}
	}
}

type upstreamStatus struct {
	Upstream, State, Reason string
	Backup                  bool
	Weight, Active          int
}

type nameStatus struct {
	Name, Error string
	Addresses   []string
	TTL         float64 `json:"ttl_seconds"`
	Failures    int
}

func (w *world) status() (r statusReport) {
	w.t.Helper()
	out, errs, status := w.anyport("status", "--json")
	if status != 0 {
		w.t.Fatalf("anyport status --json ended with %d: %s", status, errs)
	}
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		w.t.Fatalf("anyport status --json: %v\n%s", err, out)
	}
	return r
}

// TestStatus compares what status tells with the traffic, while the daemon runs and after it was killed.
func TestStatus(t *testing.T) {
	w := newWorld(t)
	w.upstreams(7000, echo)
	d := w.run(prefixes + "[[route]]\nname = \"web\"\nports = \"80\"\nupstream = [\"10.2.0.2:7000\"]\n")
	const connections = 4
	for i := range connections {
		if err := tryEcho(w.Client, withPort(families[i%2].address(w.rng), 80), "", make([]byte, 500)); err != nil {
			t.Error(err)
		}
	}
	if err := refusal(w.Client, "tcp", withPort(families[0].address(w.rng), 81)); !isRefused(err) {
		t.Error(err)
	}
	waitFor(t, "the connections to end", func() bool { return w.status().Daemon.Routes[0].TCP.Active == 0 })
	r := w.status()
	if r.Daemon.PID != d.Pid() || r.Daemon.Config != d.config || r.Kernel.Netns != w.Proxy.Inode() {
		t.Errorf("daemon %d with %s in %d", r.Daemon.PID, r.Daemon.Config, r.Kernel.Netns)
	}
	for _, p := range r.Daemon.Prefixes {
		if p.Open || !p.LocalRoute {
			t.Errorf("prefix %+v", p)
		}
	}
	if web := r.Daemon.Routes[0]; len(r.Daemon.Routes) != 1 || web.Name != "web" || web.TCP.Opened != connections ||
		web.TCP.BytesIn != 500*connections || web.TCP.BytesOut != 500*connections ||
		len(web.Upstreams) != 1 || web.Upstreams[0].Upstream != "10.2.0.2:7000" || web.Upstreams[0].State != "up" {
		t.Errorf("routes %+v", r.Daemon.Routes)
	}
	if len(r.Kernel.Sockets) != 3 || len(r.Kernel.Foreign) != 0 {
		t.Errorf("sockets %+v, foreign programs %+v", r.Kernel.Sockets, r.Kernel.Foreign)
	}
	if n := r.kernelCount("web", "steered"); n < connections {
		t.Errorf("the kernel counts %d packets steered by the route", n)
	}
	if n := r.kernelCount("sealed", "refused"); n == 0 {
		t.Error("the kernel counts no refused packet")
	}
	checkMissingRoute(t, w)
	checkStatusAfterKill(t, w, d)
}

// kernelCount returns a counter of the rule whose name holds a word.
func (r statusReport) kernelCount(rule, outcome string) uint64 {
	for _, k := range r.Kernel.Rules {
		if strings.Contains(k.Name, rule) {
			return k.Counters[outcome]
		}
	}
	return 0
}

// checkMissingRoute takes a local route away behind anyport's back, which puts it there again.
func checkMissingRoute(t *testing.T, w *world) {
	if out, err := w.Proxy.Command("ip", "route", "del", "local", "198.18.0.0/20").CombinedOutput(); err != nil {
		t.Fatalf("delete the local route: %v\n%s", err, out)
	}
	waitFor(t, "the local route to be repaired", func() bool {
		for _, p := range w.status().Daemon.Prefixes {
			if !p.LocalRoute {
				return false
			}
		}
		return true
	})
	checkEchoes(t, w)
}

func checkEchoes(t *testing.T, w *world) {
	t.Helper()
	for _, f := range families {
		if err := tryEcho(w.Client, withPort(f.address(w.rng), 80), "", []byte("hello")); err != nil {
			t.Error(err)
		}
	}
}

// checkStatusAfterKill kills the daemon: status must tell that no socket is left, and that the program still is.
func checkStatusAfterKill(t *testing.T, w *world, d *daemon) {
	d.Kill()
	r := w.status()
	if r.Daemon != nil || r.Kernel == nil || len(r.Kernel.Sockets) != 0 {
		t.Errorf("after the kill: daemon %+v, kernel %+v", r.Daemon, r.Kernel)
	}
	if out, errs, status := w.anyport("status"); status != 0 || !strings.Contains(out, "daemon: not running") {
		t.Errorf("anyport status after the kill ended with %d, printed\n%s%s", status, out, errs)
	}
}
