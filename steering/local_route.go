package steering

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// route is `local p dev lo table local proto 97 src SOURCE`.
func (r *LocalRoutes) route(p netip.Prefix) *netlink.Route {
	route := &netlink.Route{
		LinkIndex: r.lo,
		Dst:       &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())},
		Src:       r.source(p).AsSlice(),
		Protocol:  RouteProtocol,
		Table:     unix.RT_TABLE_LOCAL,
		Type:      unix.RTN_LOCAL,
	}
	if p.Addr().Is4() {
		route.Scope = unix.RT_SCOPE_HOST
	}
	return route
}

// source returns the preferred source of a prefix's route.
func (r *LocalRoutes) source(p netip.Prefix) netip.Addr {
	if p.Addr().Is4() {
		return r.source4
	}
	return r.source6
}

func (r *LocalRoutes) hasSource(route *netlink.Route, p netip.Prefix) bool {
	addr, ok := netip.AddrFromSlice(route.Src)
	return ok && addr.Unmap() == r.source(p)
}

func isOurs(route *netlink.Route) bool { return route.Protocol == RouteProtocol }

// dumpAttempts is how often a listing that the kernel calls inconsistent, as routes changed meanwhile, is repeated.
const dumpAttempts = 10

// list returns the local routes of the table that the kernel looks into first, by prefix.
func (r *LocalRoutes) list() (routes map[netip.Prefix][]netlink.Route, err error) {
	filter := &netlink.Route{Table: unix.RT_TABLE_LOCAL, Type: unix.RTN_LOCAL}
	for range dumpAttempts {
		routes = make(map[netip.Prefix][]netlink.Route)
		const fields = netlink.RT_FILTER_TABLE | netlink.RT_FILTER_TYPE
		err = r.netlink.RouteListFilteredIter(netlink.FAMILY_ALL, filter, fields, func(route netlink.Route) bool {
			if p, ok := toPrefix(route.Dst); ok {
				routes[p] = append(routes[p], route)
			}
			return true
		})
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("list local routes: %w", err)
	}
	return routes, nil
}

// toPrefix returns n as a netip.Prefix, and false for nil.
func toPrefix(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	addr, ok := netip.AddrFromSlice(n.IP)
	bits, size := n.Mask.Size()
	if size == 32 {
		addr = addr.Unmap()
	}
	return netip.PrefixFrom(addr, bits), ok
}
