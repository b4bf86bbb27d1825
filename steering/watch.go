package steering

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// repairPause bounds what a fight with another program over a route costs.
const repairPause = 100 * time.Millisecond

// watchRoutes calls repair at once and whenever the kernel tells of a change that concerns it, until ctx ends; then it returns
// nil.
func watchRoutes(ctx context.Context, ns *namespace, groups []uint, concerns func(*syscall.NetlinkMessage) bool,
	repair func()) error {
	events, err := subscribe(ns, groups)
	if err != nil {
		return err
	}
	defer events.Close()
	stop := context.AfterFunc(ctx, func() { events.Close() })
	defer stop()
	for {
		repair()
		select {
		case <-time.After(repairPause):
		case <-ctx.Done():
		}
		err := await(events, concerns)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("watch routes: %w", err)
		}
	}
}

// subscribe opens a socket that hears of changes.
func subscribe(ns *namespace, groups []uint) (events *nl.NetlinkSocket, err error) {
	err = ns.do(func() error {
		events, err = nl.Subscribe(unix.NETLINK_ROUTE, groups...)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("watch routes: %w", err)
	}
	return events, nil
}

// await returns when something that concerns the caller may have changed.
func await(events *nl.NetlinkSocket, concerns func(*syscall.NetlinkMessage) bool) error {
	for {
		messages, _, err := events.Receive()
		if errors.Is(err, unix.ENOBUFS) {
			return nil // some were lost
		}
		if err != nil {
			return err
		}
		for i := range messages {
			if concerns(&messages[i]) {
				return nil
			}
		}
	}
}
