package tcp

import (
	"context"
	"errors"
	"net"
	"syscall"
	"testing"
	"time"

	"anyport/bench/netlab"
	"anyport/proxy/stats"
)

// What waits in the accept queue when a drain begins is served.
func TestDrainServesTheQueue(t *testing.T) {
	for _, f := range []family{v4, v6} {
		t.Run(f.name, func(t *testing.T) {
			need(t, f)
			up := newServer(t, f.upstream)
			r := newRig(t, f, setup{upstreams: addrs(up), waitRun: true})
			const queued = 10
			var clients []*peer
			for range queued {
				clients = append(clients, r.dial())
			}
			drained := make(chan error, 1)
			go func() { drained <- r.engine.Drain(context.Background()) }()
			netlab.Eventually(t, "the engine drains", func() bool { return r.engine.in(draining) })
			r.run()
			for range queued {
				upstream := up.accept()
				upstream.send(lots)
				upstream.fin()
			}
			for _, c := range clients {
				c.expect(lots)
				c.expectFIN()
				c.fin()
			}
			if err := <-drained; err != nil {
				t.Error(err)
			}
			r.awaitEnded(stats.Done, queued)
		})
	}
}

// Connections whose handshake was under way are served for a while.
func TestDrainGrace(t *testing.T) {
	var d door
	c := clock{now: 12345}
	if d.late(&c) {
		t.Error("late before a drain")
	}
	d.drain(&c)
	end := c.now + int64(drainGrace)
	c.now++
	d.drain(&c) // told twice
	for now, want := range map[int64]bool{c.now: false, end - 1: false, end: true, end + 1: true} {
		c.now = now
		if d.late(&c) != want {
			t.Errorf("late %d ns before the grace ends: %v", end-now, !want)
		}
	}
}

func TestDrainRefusesLateArrivals(t *testing.T) {
	up := newServer(t, v4.upstream)
	r := newRig(t, v4, setup{upstreams: addrs(up)})
	open := r.dial()
	openUpstream := up.accept()
	drained := make(chan error, 1)
	go func() { drained <- r.engine.Drain(context.Background()) }()
	netlab.Eventually(t, "arrivals are late", func() bool { return r.arrivesLate(up) })
	talk(open, openUpstream)
	open.fin()
	openUpstream.fin()
	if err := <-drained; err != nil {
		t.Error(err)
	}
	if sum := r.totals(); sum.Ended[stats.Drained.String()] == 0 {
		t.Errorf("no connection is counted as refused: %+v", sum)
	}
}

// arrivesLate makes a connection and ends it, and reports whether it was refused.
func (r *rig) arrivesLate(up *server) bool {
	c, err := net.Dial("tcp", r.addr.String())
	if err != nil {
		return errors.Is(err, syscall.ECONNRESET)
	}
	defer c.Close()
	c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	_, err = c.Read(make([]byte, 1))
	if errors.Is(err, syscall.ECONNRESET) {
		return true
	}
	up.accept().Close()
	return false
}

func TestDrainEndsWithItsContext(t *testing.T) {
	up := newServer(t, v4.upstream)
	r := newRig(t, v4, setup{upstreams: addrs(up)})
	client := r.dial()
	upstream := up.accept()
	talk(client, upstream)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := r.engine.Drain(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("drain with an open connection: %v", err)
	}
	client.expectRST()
	upstream.expectRST()
	r.awaitEnded(stats.Drained, 1)
}

func TestDrainWithoutConnections(t *testing.T) {
	r := newRig(t, v4, setup{})
	if err := r.engine.Drain(context.Background()); err != nil {
		t.Error(err)
	}
	if err := r.engine.Drain(context.Background()); err != nil {
		t.Errorf("second drain: %v", err)
	}
}

func TestCloseCutsADrainShort(t *testing.T) {
	up := newServer(t, v4.upstream)
	r := newRig(t, v4, setup{upstreams: addrs(up)})
	client := r.dial()
	up.accept()
	drained := make(chan error, 1)
	go func() { drained <- r.engine.Drain(context.Background()) }()
	netlab.Eventually(t, "the engine drains", func() bool { return r.engine.in(draining) })
	if err := r.engine.Close(); err != nil {
		t.Error(err)
	}
	if err := <-drained; err != nil && !errors.Is(err, ErrClosed) {
		t.Errorf("drain: %v", err)
	}
	client.expectRST()
	r.awaitEnded(stats.Drained, 1)
}

func TestRunTwice(t *testing.T) {
	r := newRig(t, v4, setup{})
	netlab.Eventually(t, "the engine runs", func() bool {
		r.engine.mu.Lock()
		defer r.engine.mu.Unlock()
		return r.engine.started
	})
	if err := r.engine.Run(); !errors.Is(err, errRunning) {
		t.Errorf("second Run: %v", err)
	}
	r.engine.Close()
	if err := r.engine.Run(); !errors.Is(err, ErrClosed) {
		t.Errorf("Run after Close: %v", err)
	}
}

func TestNewRefusesTooManyWorkers(t *testing.T) {
	for _, workers := range []int{0, 3} {
		if _, err := New(Options{Workers: workers, Stats: stats.NewRegistry(2)}); err == nil {
			t.Errorf("%d workers with counters for 2 are accepted", workers)
		}
	}
}
