package steering

import (
	"context"
	"net/netip"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// RouteEvent is what a Watch tells: it put routes back, or failed to.
type RouteEvent struct {
	Restored []netip.Prefix
	Err      error // the next event of the kernel is the next try
}

// Watch puts back what is missing of the prefixes that Sync was last called with, as soon as the kernel tells of a
// change that may have removed it, until ctx ends; then it returns nil. It calls report, which must not call Sync or
// Remove, for every repair.
//
// The kernel tells of a route that somebody deletes and of an IPv6 route that goes with its interface, but not of an
// IPv4 route that goes with its preferred source (fib_sync_down_addr).
func (r *LocalRoutes) Watch(ctx context.Context, report func(RouteEvent)) error {
	groups := []uint{unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_IFADDR,
		unix.RTNLGRP_IPV6_ROUTE}
	return watchRoutes(ctx, r.ns, groups, r.concerns, func() {
		if e := r.repair(); e.Err != nil || len(e.Restored) > 0 {
			report(e)
		}
	})
}

func (r *LocalRoutes) repair() RouteEvent {
	r.mu.Lock()
	defer r.mu.Unlock()
	restored, err := r.addMissing()
	return RouteEvent{Restored: restored, Err: err}
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
