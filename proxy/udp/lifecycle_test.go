package udp

import (
	"context"
	"errors"
	"testing"
	"time"

	"anyport/bench/netlab"
	"anyport/proxy/stats"
)

// TestDrain refuses new flows and lets an open one go on until it is idle.
func TestDrain(t *testing.T) {
	t.Parallel()
	r := newRig(t, 100, spec{upstream: to("10.2.0.2:7777"), idle: time.Second})
	r.run(t)
	echo(t, listen(t, r.Upstream, "[::]:7777"))
	old := dial(t, r.Client, "198.18.0.1:9")
	exchange(t, old, []byte("before"))
	drained := make(chan error)
	go drain(r.engine, context.Background(), drained)
	netlab.Eventually(t, "the drain to begin", r.engine.w.isDraining)
	send(t, r, "[2001:db8::1]:9")
	netlab.Eventually(t, "the new flow to be refused", func() bool { return r.ended("0", stats.Drained) == 1 })
	exchange(t, old, []byte("during"))
	must(t, <-drained)
	if n := r.engine.Active(); n != 0 || r.ended("0", stats.IdleTimeout) != 1 {
		t.Errorf("%d flows are left, %d timed out", n, r.ended("0", stats.IdleTimeout))
	}
}

func (w *worker) isDraining() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.draining
}

func drain(e *Engine, ctx context.Context, done chan<- error) { done <- e.Drain(ctx) }

// TestDrainDeadline ends the flows that are left when the context is done.
func TestDrainDeadline(t *testing.T) {
	r := newRig(t, 100, echoUpstream) // without an idle timeout
	r.run(t)
	echo(t, listen(t, r.Upstream, "[::]:7777"))
	exchange(t, dial(t, r.Client, "198.18.0.1:9"), []byte("hello"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.engine.Drain(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("drain: %v", err)
	}
	if n := r.engine.Active(); n != 0 || r.ended("0", stats.Drained) != 1 {
		t.Errorf("%d flows are left, %d were drained", n, r.ended("0", stats.Drained))
	}
}

// TestLifecycle calls things in other orders than usual.
func TestLifecycle(t *testing.T) {
	r := newRig(t, 100)
	must(t, r.engine.Drain(t.Context())) // it does not run
	must(t, r.engine.Run())              // and need not, after that
	if err := r.engine.Run(); !errors.Is(err, errRunning) {
		t.Errorf("second Run: %v", err)
	}
	must(t, r.engine.Close())
	must(t, r.engine.Close())
	if err := r.engine.Run(); !errors.Is(err, ErrClosed) {
		t.Errorf("Run after Close: %v", err)
	}
	must(t, r.engine.Drain(t.Context()))
	if _, err := New(Options{MaxFlows: 0}); err == nil {
		t.Error("an engine has room for no flow")
	}
}
