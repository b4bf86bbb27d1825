package steering

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Host is what a prefix must not take away from its host.
type Host struct {
	Addrs    []HostAddr   // of all interfaces
	Gateways []netip.Addr // next hops of the routes in every table, and far ends of point-to-point links; sorted
}

// HostAddr is an address of an interface.
type HostAddr struct {
	Interface string       // "eth0"
	Prefix    netip.Prefix // the address and the length of its subnet, not masked: 192.0.2.5/24
	Loopback  bool         // the interface is a loopback: its subnet is no link to others
}

// ReadHost reads the addresses and gateways of a network namespace by netlink: of the one at path, or for "" of that of
// the calling thread. It needs no privilege but to enter the namespace.
func ReadHost(netns string) (Host, error) {
	ns, err := openNamespace(netns)
	if err != nil {
		return Host{}, err
	}
	defer ns.close()
	h, err := openNetlink(ns)
	if err != nil {
		return Host{}, err
	}
	defer h.Close()
	var host Host
	for range dumpAttempts {
		if host, err = readHost(h); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	if err != nil {
		return Host{}, fmt.Errorf("read the host's addresses: %w", err)
	}
	return host, nil
}

func readHost(h *netlink.Handle) (Host, error) {
	links, err := h.LinkList()
	if err != nil {
		return Host{}, err
	}
	var host Host
	next := make(map[netip.Addr]bool)
	for _, l := range links {
		addrs, err := h.AddrList(l, netlink.FAMILY_ALL)
		if err != nil {
			return Host{}, err
		}
		for _, a := range addrs {
			if p, ok := toPrefix(a.IPNet); ok {
				loopback := l.Attrs().Flags&net.FlagLoopback != 0
				host.Addrs = append(host.Addrs, HostAddr{Interface: l.Attrs().Name, Prefix: p, Loopback: loopback})
			}
			if far, ok := toPrefix(a.Peer); ok && far.IsSingleIP() && !far.Addr().IsUnspecified() {
				next[far.Addr()] = true
			}
		}
	}
	if err := readGateways(h, next); err != nil {
		return Host{}, err
	}
	for gateway := range next {
		host.Gateways = append(host.Gateways, gateway)
	}
	slices.SortFunc(host.Gateways, netip.Addr.Compare)
	return host, nil
}

// readGateways adds the next hops of all routes to next.
func readGateways(h *netlink.Handle, next map[netip.Addr]bool) error {
	add := func(gw net.IP, via netlink.Destination) {
		if v, ok := via.(*netlink.Via); ok {
			gw = v.Addr
		}
		if addr, ok := netip.AddrFromSlice(gw); ok {
			next[addr.Unmap()] = true
		}
	}
	every := &netlink.Route{Table: unix.RT_TABLE_UNSPEC}
	return h.RouteListFilteredIter(netlink.FAMILY_ALL, every, netlink.RT_FILTER_TABLE, func(route netlink.Route) bool {
		add(route.Gw, route.Via)
		for _, hop := range route.MultiPath {
			add(hop.Gw, hop.Via)
		}
		return true
	})
}
