package steering

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// RouteProtocol marks the routes that are ours (rtm_protocol of rtnetlink(7), `ip route show table local proto 97`). No
// other program is known to use 97: it is free in linux/rtnetlink.h of Linux 6.18 and in iproute2's rt_protos.
const RouteProtocol = 97

// LocalRouteOptions say whose local routes to keep, and what they look like.
type LocalRouteOptions struct {
	Netns string // like Options.Netns

	// The addresses that programs on the host itself send from when they dial an address of a prefix; without one the
	// kernel takes the dialled IPv4 address itself. They must be the host's and outside the prefixes. The zero Addr
	// stands for 127.0.0.1 and ::1, which always are.
	Source4, Source6 netip.Addr
}

// LocalRoutes keeps the kernel's `local PREFIX dev lo` routes (ip-route(8)) that make every address of a prefix the
// host's own. It touches only routes with RouteProtocol; a local route of somebody else for the same prefix will do,
// and stays. Its methods are safe for concurrent use.
type LocalRoutes struct {
	ns               *namespace
	netlink          *netlink.Handle
	lo               int // index of the loopback interface
	source4, source6 netip.Addr

	mu     sync.Mutex // guards the field below, and lets one change of routes happen at a time
	wanted []netip.Prefix
}

// OpenLocalRoutes opens a netlink socket in the namespace. It changes nothing yet. The caller closes it.
func OpenLocalRoutes(o LocalRouteOptions) (*LocalRoutes, error) {
	ns, err := openNamespace(o.Netns)
	if err != nil {
		return nil, err
	}
	r := &LocalRoutes{ns: ns, source4: o.Source4, source6: o.Source6}
	if !r.source4.IsValid() {
		r.source4 = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	if !r.source6.IsValid() {
		r.source6 = netip.IPv6Loopback()
	}
	if err := r.open(); err != nil {
		r.Close()
		return nil, fmt.Errorf("open local routes: %w", err)
	}
	return r, nil
}

func (r *LocalRoutes) open() error {
	if !r.source4.Is4() || !r.source6.Is6() || r.source6.Is4In6() {
		return fmt.Errorf("preferred sources %s and %s are not an IPv4 and an IPv6 address", r.source4, r.source6)
	}
	var err error
	r.netlink, r.lo, err = openLoopback(r.ns)
	return err
}

// openLoopback opens a netlink socket that stays in the namespace, and finds the index of the loopback interface.
func openLoopback(ns *namespace) (h *netlink.Handle, index int, err error) {
	if h, err = openNetlink(ns); err != nil {
		return nil, 0, err
	}
	lo, err := h.LinkByName("lo") // the kernel names it so in every namespace
	if err != nil {
		h.Close()
		return nil, 0, fmt.Errorf("find lo: %w", err)
	}
	return h, lo.Attrs().Index, nil
}

// openNetlink opens a route netlink socket that stays in the namespace.
func openNetlink(ns *namespace) (h *netlink.Handle, err error) {
	err = ns.do(func() error {
		h, err = netlink.NewHandle(unix.NETLINK_ROUTE)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open netlink socket: %w", err)
	}
	return h, nil
}

// Close closes the socket and leaves the routes. A Watch must have ended before.
func (r *LocalRoutes) Close() error {
	if r.netlink != nil {
		r.netlink.Close()
	}
	return r.ns.close()
}

// Sync makes exactly these prefixes local, as far as routes of ours go: it adds what is missing, and removes ours for
// other prefixes. It needs CAP_NET_ADMIN.
func (r *LocalRoutes) Sync(prefixes []netip.Prefix) error {
	for _, p := range prefixes {
		if p.Contains(r.source(p)) {
			return fmt.Errorf("local route %s: the preferred source %s lies inside", p, r.source(p))
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wanted = slices.Clone(prefixes)
	if _, err := r.addMissing(); err != nil {
		return err
	}
	return r.removeOurs(func(p netip.Prefix) bool { return !slices.Contains(prefixes, p) })
}

// Missing returns those of the prefixes that have no local route, be it ours or another's.
func (r *LocalRoutes) Missing(prefixes []netip.Prefix) ([]netip.Prefix, error) {
	present, err := r.list()
	if err != nil {
		return nil, err
	}
	var missing []netip.Prefix
	for _, p := range prefixes {
		if len(present[p]) == 0 {
			missing = append(missing, p)
		}
	}
	return missing, nil
}

// Remove removes every route of ours in the namespace, whichever process added it.
func (r *LocalRoutes) Remove() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wanted = nil
	return r.removeOurs(func(netip.Prefix) bool { return true })
}

// addMissing adds routes for wanted prefixes that have none, gives ours the right source, and returns what it added. A
// prefix that fails, as those of IPv6 do where that is off, keeps none of the others from its route.
func (r *LocalRoutes) addMissing() (added []netip.Prefix, err error) {
	present, err := r.list()
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, p := range r.wanted {
		fresh, err := r.ensure(p, present[p])
		if err != nil {
			errs = append(errs, err)
		} else if fresh {
			added = append(added, p)
		}
	}
	return added, errors.Join(errs...)
}

// ensure adds the route of p if it has none, or gives ours the right source, and reports whether it added one.
func (r *LocalRoutes) ensure(p netip.Prefix, routes []netlink.Route) (added bool, err error) {
	switch {
	case len(routes) == 0:
		added, err = true, r.netlink.RouteAdd(r.route(p))
	case len(routes) == 1 && isOurs(&routes[0]) && !r.hasSource(&routes[0], p):
		err = r.netlink.RouteReplace(r.route(p))
	}
	switch {
	case err == nil, errors.Is(err, unix.EEXIST): // somebody was quicker
		return added, nil
	case errors.Is(err, unix.EACCES) && p.Addr().Is6(): // fib6_nh_init in net/ipv6/route.c; no privilege is EPERM
		return false, &ipv6OffError{p}
	}
	return false, explainPrivilege(fmt.Errorf("add local route %s: %w", p, err))
}

// removeOurs removes our routes for the prefixes that chosen picks.
func (r *LocalRoutes) removeOurs(chosen func(netip.Prefix) bool) error {
	present, err := r.list()
	if err != nil {
		return err
	}
	for p, routes := range present {
		for i := range routes {
			if !isOurs(&routes[i]) || !chosen(p) {
				continue
			}
			if err := r.netlink.RouteDel(&routes[i]); err != nil && !errors.Is(err, unix.ESRCH) {
				return explainPrivilege(fmt.Errorf("remove local route %s: %w", p, err))
			}
		}
	}
	return nil
}
