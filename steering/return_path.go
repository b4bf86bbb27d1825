package steering

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"anyport/conf/rule"
)

// ReturnPath is where replies to connections come from that carry the address of somebody else, their client: an
// upstream's address and ports.
type ReturnPath struct {
	Upstream netip.Addr
	Ports    rule.PortRange
}

const (
	// ReturnTable is the routing table whose one route, for each family, makes every destination local. Nothing is
	// looked up there but what a rule of ours sends.
	ReturnTable = 9797
	// ReturnPriority is that of our rules (ip-rule(8)): behind the local table's, which is 0, and ahead of the main
	// table's and of what VPN clients add.
	ReturnPriority = 97
)

// ErrLocalUpstream is returned for an upstream on this host. It would answer clients directly, since what the host
// itself sends arrives nowhere.
var ErrLocalUpstream = errors.New("the upstream is on this host, and would answer clients directly")

// returnKey is a rule of ours, as far as one differs from another:
// `iif DEVICE ipproto tcp from UPSTREAM sport PORTS lookup 9797 priority 97 proto 97`.
//
// The protocol keeps the host from answering ARP for what the rule claims: an ARP look-up has none, so the rule does
// not match it (fib4_rule_match in net/ipv4/fib_rules.c).
type returnKey struct {
	path   ReturnPath
	device string
}

func (k returnKey) rule() *netlink.Rule {
	r := netlink.NewRule()
	r.Family = netlinkFamily(k.path.Upstream)
	r.Priority = ReturnPriority
	r.Table = ReturnTable
	r.IifName = k.device
	r.IPProto = unix.IPPROTO_TCP
	r.Src = hostNet(k.path.Upstream)
	if k.path.Ports != everyPort {
		r.Sport = netlink.NewRulePortRange(k.path.Ports.First, k.path.Ports.Last)
	}
	r.Protocol = RouteProtocol
	return r
}

// returnKeyOf returns the key of a rule with our protocol number.
func returnKeyOf(r *netlink.Rule) (returnKey, bool) {
	p, ok := toPrefix(r.Src)
	ports := everyPort
	if r.Sport != nil {
		ports = rule.PortRange{First: r.Sport.Start, Last: r.Sport.End}
	}
	return returnKey{ReturnPath{p.Addr(), ports}, r.IifName}, ok && r.IPProto == unix.IPPROTO_TCP
}

// everyPort is a rule without a range of ports. Where a path's ports reach 65535 it has to do: the ranges that the
// kernel takes end at 65534 (fib_rule_port_range_valid in include/net/fib_rules.h).
var everyPort = rule.PortRange{First: 1, Last: 65535}

// hostNet returns an address as a prefix of its whole length.
func hostNet(a netip.Addr) *net.IPNet {
	return &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(a.BitLen(), a.BitLen())}
}

func netlinkFamily(a netip.Addr) int {
	if a.Is4() {
		return netlink.FAMILY_V4
	}
	return netlink.FAMILY_V6
}

// everything is `local default dev lo table 9797 proto 97`.
func (r *ReturnPaths) everything(family int) *netlink.Route {
	all := netip.PrefixFrom(netip.IPv6Unspecified(), 0)
	if family == netlink.FAMILY_V4 {
		all = netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	route := &netlink.Route{
		LinkIndex: r.lo,
		Family:    family,
		Dst:       &net.IPNet{IP: all.Addr().AsSlice(), Mask: net.CIDRMask(0, all.Addr().BitLen())},
		Protocol:  RouteProtocol,
		Table:     ReturnTable,
		Type:      unix.RTN_LOCAL,
	}
	if family == netlink.FAMILY_V4 {
		route.Scope = unix.RT_SCOPE_HOST
	}
	return route
}

// key returns the rule for a path, whose device is the one that the host itself reaches the upstream by. It is false for
// an upstream that cannot be reached: nothing comes from there.
func (r *ReturnPaths) key(path ReturnPath) (k returnKey, ok bool, err error) {
	routes, err := r.netlink.RouteGet(path.Upstream.AsSlice())
	if err != nil || len(routes) == 0 {
		return returnKey{}, false, nil
	}
	if routes[0].Type == unix.RTN_LOCAL || routes[0].LinkIndex == r.lo {
		return returnKey{}, false, fmt.Errorf("return path of %s: %w", path.Upstream, ErrLocalUpstream)
	}
	link, err := r.netlink.LinkByIndex(routes[0].LinkIndex)
	if err != nil {
		return returnKey{}, false, fmt.Errorf("return path of %s: %w", path.Upstream, err)
	}
	if path.Ports.Last == everyPort.Last {
		path.Ports = everyPort
	}
	return returnKey{path, link.Attrs().Name}, true, nil
}
