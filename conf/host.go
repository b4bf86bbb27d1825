package conf

import (
	"fmt"
	"net/netip"
)

// Host is what a configuration is checked against of the machine that it is for.
type Host struct {
	Addrs    []HostAddr
	Gateways []netip.Addr // the next hops of the host's routes
}

// HostAddr is an address of a network interface.
type HostAddr struct {
	Interface string       // "eth0"
	Prefix    netip.Prefix // the address and the length of its subnet, not masked: 192.0.2.5/24
	Loopback  bool         // the interface is a loopback: its subnet is no link to others
}

// conflict says how a served prefix would cut the host off from its own addresses and links, or returns "".
//
// The kernel asks the table of local routes before all others (ip-rule(8)), so what lies inside a local prefix is never
// sent to a link: neighbours there, a gateway among them, become unreachable, and the host answers ARP in their place.
func (h *Host) conflict(p netip.Prefix) string {
	for _, a := range h.Addrs {
		subnet := a.Prefix.Masked()
		switch {
		case p.Contains(a.Prefix.Addr()):
			return fmt.Sprintf("contains %s, an address of %s", a.Prefix.Addr(), a.Interface)
		case !a.Loopback && p.Overlaps(subnet):
			return fmt.Sprintf("lies inside %s, a subnet of %s", subnet, a.Interface)
		}
	}
	for _, gateway := range h.Gateways {
		if p.Contains(gateway) {
			return fmt.Sprintf("contains %s, a gateway of the host", gateway)
		}
	}
	return ""
}

// has reports whether addr is an address of the host.
func (h *Host) has(addr netip.Addr) bool {
	for _, a := range h.Addrs {
		if a.Prefix.Addr() == addr {
			return true
		}
	}
	return false
}

// checkHost refuses prefixes that would cut the host off, and warns of sources that are not its own.
func (d *decoder) checkHost(c *draft, host *Host) {
	onLink := func(item value, p netip.Prefix) {
		if how := host.conflict(p); how != "" && !c.AllowOnLink {
			d.fault(item, "a served prefix is routed to the host, not on one of its links; allow_on_link = true forces it",
				"%s %s", p, how)
		}
	}
	each(c.top.at("prefixes"), parseServed, onLink)
	each(c.top.at("open_prefixes"), parseServed, onLink)
	each(c.top.at("udp_sources"), parseUDPSource, func(item value, s UDPSource) {
		if !host.has(s.Addr) {
			d.warn(item, "replies reach only addresses that are local here", "%s is not an address of this host", s.Addr)
		}
	})
	for i, got := range c.routes {
		each(got.at("upstream"), parseUpstream, func(item value, u Upstream) {
			if c.Routes[i].Source == SourceClient && (host.has(u.Addr) || u.Addr.IsLoopback()) {
				d.fault(item, `leave out source = "client"`, "%s is on this host, and would answer clients directly", u.Addr)
			}
		})
	}
	each(c.top.at("tcp_sources"), parseTCPSource, func(item value, a netip.Addr) {
		if !host.has(a) {
			d.warn(item, "nothing can be sent from it until it is", "%s is not an address of this host", a)
		}
	})
}
