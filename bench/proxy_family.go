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
	name           string
	prefix         netip.Prefix // that the client dials into
	dialled        netip.Addr   // the one address of it that all subjects are compared on
	client         netip.Addr
	towardsClient  netip.Addr // the proxy's
	towardsServer  netip.Addr // the proxy's
	upstream       netip.Addr
	clientNetworks []netip.Prefix // behind the proxy, seen from the upstream
}

var proxyFamilies = []proxyFamily{
	{
		name: "IPv4", prefix: netlab.Prefix4, dialled: netip.MustParseAddr("198.18.0.1"),
		client: netlab.Client4, towardsClient: netlab.ProxyClient4, towardsServer: netlab.ProxyUpstream4,
		upstream: netlab.Upstream4, clientNetworks: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/24")},
	},
	{
		name: "IPv6", prefix: netlab.Prefix6, dialled: netip.MustParseAddr("2001:db8::1"),
		client: netlab.Client6, towardsClient: netlab.ProxyClient6, towardsServer: netlab.ProxyUpstream6,
		upstream: netlab.Upstream6, clientNetworks: []netip.Prefix{netip.MustParsePrefix("fd00:1::/64")},
	},
}
