package main

import (
	"context"
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func TestOrders(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	signals := make(chan os.Signal)
	o, follow := takeOrders(ctx, signals)
	done := make(chan error, 1)
	go func() { done <- follow() }()

	signals <- unix.SIGHUP
	signals <- unix.SIGHUP // nobody has looked at the first: one reload will do for both
	signals <- unix.SIGTERM
	<-o.reload
	<-o.drain.Done()
	if len(o.reload) != 0 || o.stop.Err() != nil {
		t.Errorf("after SIGHUP, SIGHUP, SIGTERM: %d more reloads, stop %v", len(o.reload), o.stop.Err())
	}
	signals <- unix.SIGINT
	<-o.stop.Done()
	for _, c := range []context.Context{o.drain, o.stop} {
		if cause := context.Cause(c); !errors.Is(cause, errToldToStop) {
			t.Errorf("cause %v, want %v", cause, errToldToStop)
		}
	}
	cancel()
	must(t, <-done)
}

// A part that fails ends both contexts, with its error.
func TestOrdersEndWithParts(t *testing.T) {
	ctx, fail := context.WithCancelCause(t.Context())
	o, follow := takeOrders(ctx, nil)
	broken := errors.New("broken")
	fail(broken)
	must(t, follow())
	for _, c := range []context.Context{o.drain, o.stop} {
		if cause := context.Cause(c); !errors.Is(cause, broken) {
			t.Errorf("cause %v, want %v", cause, broken)
		}
	}
}
