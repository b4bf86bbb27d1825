package proxy

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"anyport/bench/netlab"
	"anyport/proxy/stats"
)

// serving returns a running server with one connection through it.
func serving(t *testing.T, ctx context.Context) (*rig, net.Conn) {
	t.Helper()
	r := newRig(t, home)
	must(t, r.put(home+routeOf("all", greeter(t, "127.0.0.2:0", "up"))))
	r.run(ctx)
	c := r.dial()
	wantGreeting(t, c, "up")
	return r, c
}

func (r *rig) drained() uint64 {
	return stats.Sum(r.Stats().Route("all").TCP).Ended[stats.Drained.String()]
}

// Drain lets an open connection end by itself and refuses new ones.
func TestDrain(t *testing.T) {
	r, c := serving(t, t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Drain(context.Background()) }()
	netlab.Eventually(t, "new connections are refused", func() bool {
		late, err := net.Dial("tcp", r.address().String())
		if err != nil {
			return true // reset before connect(2) had returned
		}
		defer late.Close() // those of the grace are served, and would keep the server from ending
		must(t, late.SetDeadline(time.Now().Add(netlab.Patience)))
		_, err = late.Read(make([]byte, 1))
		return err != nil
	})
	wantEcho(t, c)
	must(t, c.Close())
	select {
	case err := <-done:
		must(t, err)
	case <-time.After(netlab.Patience):
		t.Fatal("Drain does not return")
	}
	r.wantReturned()
}

// A drain whose time is over cuts off what is left, and says so.
func TestDrainTimesOut(t *testing.T) {
	r, c := serving(t, t.Context())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Drain(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Drain returned %v, want %v", err, context.Canceled)
	}
	wantReset(t, c)
	r.wantReturned()
	if got := r.drained(); got != 1 {
		t.Errorf("%d connections ended as drained, want 1", got)
	}
}

func TestStop(t *testing.T) {
	r, c := serving(t, t.Context())
	must(t, r.Stop())
	wantReset(t, c)
	r.wantReturned()
	if got := r.drained(); got != 1 {
		t.Errorf("%d connections ended as drained, want 1", got)
	}
	must(t, r.Stop())
}

func TestRunEndsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	r, c := serving(t, ctx)
	cancel()
	wantReset(t, c)
	r.wantReturned()
}

// Close waits for Run, and may be called again; Run may come too late, but not twice.
func TestClose(t *testing.T) {
	r, _ := serving(t, t.Context())
	if err := r.Run(t.Context()); !errors.Is(err, errRunning) {
		t.Errorf("a second Run returned %v, want %v", err, errRunning)
	}
	must(t, r.Close())
	r.wantReturned()
	must(t, r.Close())

	never := newRig(t, home)
	must(t, never.Stop())
	must(t, never.Run(t.Context()))
	must(t, never.Close())
	must(t, never.Run(t.Context()))
}

// A data plane that fails ends Run with its error, and with it the other one.
func TestFailedDataPlaneEndsRun(t *testing.T) {
	broken := errors.New("broken")
	r := newRig(t, home)
	err := r.forward(t.Context(), append(r.udp.runs(), r.tcp.Run, func() error { return broken })...)
	if !errors.Is(err, broken) {
		t.Errorf("Run returned %v, want %v", err, broken)
	}
}

// New closes what it has opened when a later step fails.
func TestNewFailsHalfWay(t *testing.T) {
	netlab.RequireRoot(t)
	for _, c := range []struct {
		what, log string
		flows     int
	}{
		{"the access log's folder is missing", filepath.Join(t.TempDir(), "missing", "log"), 1},
		{"the last data plane cannot be made", filepath.Join(t.TempDir(), "log"), 0},
	} {
		cfg := *parse(t, home)
		cfg.AccessLog, cfg.MaxFlows = c.log, c.flows
		before := descriptors(t)
		if s, err := New(&cfg, Options{}); err == nil {
			t.Errorf("%s: no error", c.what)
			must(t, s.Close())
		}
		if after := descriptors(t); after > before { // fewer: what the tests before had not yet closed
			t.Errorf("%s: %d descriptors, %d before", c.what, after, before)
		}
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	open, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(open)
}
