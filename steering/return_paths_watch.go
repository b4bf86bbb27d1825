package steering

import (
	"context"
	"syscall"

	"golang.org/x/sys/unix"
)

// ReturnEvent is what a Watch tells: it put rules back, or moved them to another device, or failed to.
type ReturnEvent struct {
	Restored []ReturnPath
	Err      error // the next event of the kernel is the next try
}

// Watch puts back what is missing of the paths that Sync was last called with, and follows an upstream whose route
// leads to another device, until ctx ends; then it returns nil. It calls report, which must not call Sync or Remove, for
// every repair.
func (r *ReturnPaths) Watch(ctx context.Context, report func(ReturnEvent)) error {
	groups := []uint{unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV4_RULE, unix.RTNLGRP_IPV6_ROUTE,
		unix.RTNLGRP_IPV6_RULE}
	return watchRoutes(ctx, r.ns, groups, r.concerns, func() {
		if e := r.repair(); e.Err != nil || len(e.Restored) > 0 {
			report(e)
		}
	})
}

func (r *ReturnPaths) repair() ReturnEvent {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.wanted) == 0 {
		return ReturnEvent{}
	}
	keys, err := r.keys(r.wanted)
	if err != nil {
		return ReturnEvent{Err: err}
	}
	restored, err := r.apply(keys)
	return ReturnEvent{Restored: restored, Err: err}
}

// concerns reports whether a message tells of a change to rules, routes or links while there are paths to keep.
func (r *ReturnPaths) concerns(m *syscall.NetlinkMessage) bool {
	switch m.Header.Type {
	case unix.RTM_DELRULE, unix.RTM_NEWROUTE, unix.RTM_DELROUTE, unix.RTM_NEWLINK:
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.wanted) > 0
	}
	return false
}
