package offload

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// changes are events after which a packet's way may be another one: of devices, routes, routing rules, next hops and the
// forwarding switches. The program forgets what it has found out as soon as it is told of one; without that, within a
// unit of time.
type changes struct{ events *nl.NetlinkSocket }

// openChanges begins to listen, in the network namespace that it is called in. The caller calls close.
func openChanges() (*changes, error) {
	events, err := nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV6_ROUTE,
		unix.RTNLGRP_IPV4_RULE, unix.RTNLGRP_IPV6_RULE, unix.RTNLGRP_NEXTHOP, unix.RTNLGRP_IPV4_NETCONF,
		unix.RTNLGRP_IPV6_NETCONF)
	if err != nil {
		return nil, fmt.Errorf("watch routes: %w", err)
	}
	return &changes{events}, nil
}

// changesPause is the least time between two notes of changes: routes may change by the thousand. What comes meanwhile
// waits, or does not fit and is an error that counts as a change.
const changesPause = time.Millisecond

// watch adds to a number whenever something has changed, until ctx ends, when it returns nil. Run it once.
func (c *changes) watch(ctx context.Context, number *uint32) error {
	stop := context.AfterFunc(ctx, c.close)
	defer stop()
	for {
		_, _, err := c.events.Receive()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil && !errors.Is(err, unix.ENOBUFS) {
			return fmt.Errorf("watch routes: %w", err)
		}
		atomic.AddUint32(number, 1)
		time.Sleep(changesPause)
	}
}

// close ends watch. A second call does nothing.
func (c *changes) close() { c.events.Close() }
