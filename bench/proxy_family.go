package bench

import (
	"net/netip"

	"anyport/bench/netlab"
)

// addrPort is an address as configuration files take it.
func addrPort(addr netip.Addr, port int) string {
	return netip.AddrPortFrom(addr, uint16(port)).String()
}

// proxyFamily is one version of IP on a line client - proxy - upstream.
type proxyFamily struct {
	name          string
	prefix        netip.Prefix // that the client dials into
	dialled       netip.Addr   // the one address of it that all subjects are compared on
	client        netip.Addr
	towardsClient netip.Addr // the proxy's
	towardsServer netip.Addr // the proxy's
	upstream      netip.Addr
	clients       netip.Prefix // that datagrams come from; the proxy's route to it goes by gateway
	gateway       netip.Addr
	nat           []netip.Addr // more addresses of the proxy towards the upstream
}

var proxyFamilies = []proxyFamily{
	{
		name: "IPv4", prefix: netlab.Prefix4, dialled: netip.MustParseAddr("198.18.0.1"),
		client: netlab.Client4, towardsClient: netlab.ProxyClient4, towardsServer: netlab.ProxyUpstream4,
		upstream: netlab.Upstream4, clients: netip.MustParsePrefix("10.64.0.0/10"), gateway: netip.MustParseAddr("10.1.0.3"),
		nat: parseAddrs("10.2.0.11", "10.2.0.12", "10.2.0.13", "10.2.0.14"),
	},
	{
		name: "IPv6", prefix: netlab.Prefix6, dialled: netip.MustParseAddr("2001:db8::1"),
		client: netlab.Client6, towardsClient: netlab.ProxyClient6, towardsServer: netlab.ProxyUpstream6,
		upstream: netlab.Upstream6, clients: netip.MustParsePrefix("fd64::/64"), gateway: netip.MustParseAddr("fd00:1::3"),
		nat: parseAddrs("fd00:2::11", "fd00:2::12", "fd00:2::13", "fd00:2::14"),
	},
}

func parseAddrs(texts ...string) (list []netip.Addr) {
	for _, text := range texts {
		list = append(list, netip.MustParseAddr(text))
	}
	return list
}
