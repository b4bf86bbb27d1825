package main

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// orders are what signals ask of the daemon. They are taken from its first moment on, so that one that comes while it
// starts or reloads, which may wait long for DNS, is obeyed at once.
type orders struct {
	reload chan struct{}   // gets a value at SIGHUP; those that come before it is looked at count as one
	drain  context.Context // done from the first SIGTERM or SIGINT on
	stop   context.Context // done from the second on
}

// errToldToStop is the cause of the end of the orders' contexts.
var errToldToStop = errors.New("told to stop by a signal")

// takeOrders returns orders whose contexts also end with ctx, and the function that follows the signals until then.
func takeOrders(ctx context.Context, signals <-chan os.Signal) (o *orders, follow func() error) {
	o = &orders{reload: make(chan struct{}, 1)}
	var drain, stop context.CancelCauseFunc
	o.drain, drain = context.WithCancelCause(ctx)
	o.stop, stop = context.WithCancelCause(ctx)
	return o, func() error {
		defer stop(nil)
		defer drain(nil)
		for {
			select {
			case <-ctx.Done():
				return nil
			case s := <-signals:
				switch {
				case s == unix.SIGHUP:
					o.askReload()
				case o.drain.Err() == nil:
					drain(errToldToStop)
				default:
					stop(errToldToStop)
				}
			}
		}
	}
}

func (o *orders) askReload() {
	select {
	case o.reload <- struct{}{}:
	default: // one is asked for already, and will read the file as it is then
	}
}
