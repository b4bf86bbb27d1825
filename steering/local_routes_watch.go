package steering

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// RouteEvent is what a Watch tells: it put routes back, or failed to.
type RouteEvent struct {
	Restored []netip.Prefix
	Err      error // the next event of the kernel is the next try
}

// repairPause bounds what a fight with another program over a route costs.
const repairPause = 100 * time.Millisecond

// Watch puts back what is missing of the prefixes that Sync was last called with, as soon as the kernel tells of a
// change that may have removed it, until ctx ends; then it returns nil. It calls report, which must not call Sync or
// Remove, for every repair.
func (r *LocalRoutes) Watch(ctx context.Context, report func(RouteEvent)) error {
	events, err := r.subscribe()
	if err != nil {
		return err
	}
	defer events.Close()
	stop := context.AfterFunc(ctx, func() { events.Close() })
	defer stop()
	for {
		if e := r.repair(); e.Err != nil || len(e.Restored) > 0 {
			report(e)
		}
		select {
		case <-time.After(repairPause):
		case <-ctx.Done():
		}
		err := r.await(events)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("watch local routes: %w", err)
		}
	}
}

// subscribe opens a socket that hears of changes to links, addresses and routes.
func (r *LocalRoutes) subscribe() (events *nl.NetlinkSocket, err error) {
	err = r.ns.do(func() error {
		events, err = nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR,
			unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_IFADDR, unix.RTNLGRP_IPV6_ROUTE)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("watch local routes: %w", err)
	}
	return events, nil
}

func (r *LocalRoutes) repair() RouteEvent {
	r.mu.Lock()
	defer r.mu.Unlock()
	restored, err := r.addMissing()
	return RouteEvent{Restored: restored, Err: err}
}

// await returns when a local route may have gone. The kernel tells of a route that somebody deletes and of an IPv6
// route that goes with its interface, but not of an IPv4 route that goes with its preferred source
// (fib_sync_down_addr).
func (r *LocalRoutes) await(events *nl.NetlinkSocket) error {
	for {
		messages, _, err := events.Receive()
		if errors.Is(err, unix.ENOBUFS) {
			return nil // some were lost
		}
		if err != nil {
			return err
		}
		for i := range messages {
			if r.concerns(&messages[i]) {
				return nil
			}
		}
	}
}

// concerns reports whether a message tells of a change to lo, or of the end of a local route.
func (r *LocalRoutes) concerns(m *syscall.NetlinkMessage) bool {
	switch m.Header.Type {
	case unix.RTM_DELROUTE:
		route := nl.DeserializeRtMsg(m.Data)
		return route.Type == unix.RTN_LOCAL && route.Table == unix.RT_TABLE_LOCAL
	case unix.RTM_NEWLINK:
		return int(nl.DeserializeIfInfomsg(m.Data).Index) == r.lo
	case unix.RTM_NEWADDR, unix.RTM_DELADDR:
		return int(nl.DeserializeIfAddrmsg(m.Data).Index) == r.lo
	}
	return false
}
