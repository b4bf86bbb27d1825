package tcp

import (
	"context"
	"errors"
	"time"
)

// phase is how far an engine is in its life.
type phase int32

const (
	serving  phase = iota
	draining       // connections end by themselves, late arrivals are refused
	closing        // everything ends now
)

// drainGrace is how long a draining engine goes on to serve what arrives: connections whose handshake was under way
// when the caller stopped steering, and which would be reset otherwise: the final ACK of a handshake finds its request
// socket, and so this listener, wherever new connections are steered by then (tcp_v4_rcv in net/ipv4/tcp_ipv4.c).
const drainGrace = 100 * time.Millisecond

// in reports whether the engine has reached phase p.
func (e *Engine) in(p phase) bool { return phase(e.phase.Load()) >= p }

// enter brings the engine to phase p, if it is not that far yet, and tells the workers.
func (e *Engine) enter(p phase) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.released || e.in(p) {
		return
	}
	e.phase.Store(int32(p))
	for _, w := range e.workers {
		w.wakeup.Signal()
	}
}

// Drain ends the engine without cutting a connection: it serves what waits in the accept queue or is in a handshake,
// refuses what arrives later (reason Drained) and waits until every connection has ended. When ctx is done first, it
// resets the rest (Drained) and returns ctx's error; when a Close comes first, ErrClosed. The caller should stop
// steering connections here before it calls Drain. After it, the engine is closed.
func (e *Engine) Drain(ctx context.Context) error {
	e.enter(draining)
	err := e.awaitEnd(ctx)
	return errors.Join(err, e.Close())
}

func (e *Engine) awaitEnd(ctx context.Context) error {
	grace := time.NewTimer(drainGrace)
	defer grace.Stop()
	select {
	case <-grace.C:
	case <-ctx.Done():
	case <-e.stopped:
	}
	for e.active.Load() > 0 {
		select {
		case <-e.settled:
		case <-e.stopped:
			return ErrClosed
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// left tells a Drain that a connection has ended.
func (e *Engine) left() {
	if e.active.Add(-1) > 0 || !e.in(draining) {
		return
	}
	select {
	case e.settled <- struct{}{}:
	default: // it has been told and has not looked yet
	}
}

// Close resets every connection (reason Drained), ends Run and waits for it. A second call does nothing. The error is
// always nil.
func (e *Engine) Close() error {
	e.enter(closing)
	e.mu.Lock()
	if !e.started {
		e.started = true
		e.release()
	}
	e.mu.Unlock()
	<-e.stopped
	return nil
}
