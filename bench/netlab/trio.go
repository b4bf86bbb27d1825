package netlab

import (
	"errors"
	"net/netip"
)

// Trio is the line client - proxy - upstream. The client sends everything for Prefix4 and Prefix6 to the proxy, which
// has no local routes for them yet ([Namespace.AddLocalRoute]) and does not forward. There is no other way from the
// client to the upstream.
type Trio struct {
	*Lab
	Client, Proxy, Upstream *Namespace
}

// The anycast prefixes of a Trio: address space set aside for benchmarks (RFC 2544) and for documentation (RFC 3849).
var (
	Prefix4 = netip.MustParsePrefix("198.18.0.0/20")
	Prefix6 = netip.MustParsePrefix("2001:db8::/48")
)

// The addresses of a Trio. The proxy's interface towards the client is "client0", the one towards the upstream
// "upstream0"; the other ends are both "proxy0".
var (
	Client4        = netip.MustParseAddr("10.1.0.2")
	Client6        = netip.MustParseAddr("fd00:1::2")
	ProxyClient4   = netip.MustParseAddr("10.1.0.1") // the proxy, seen from the client
	ProxyClient6   = netip.MustParseAddr("fd00:1::1")
	ProxyUpstream4 = netip.MustParseAddr("10.2.0.1") // the proxy, seen from the upstream
	ProxyUpstream6 = netip.MustParseAddr("fd00:2::1")
	Upstream4      = netip.MustParseAddr("10.2.0.2")
	Upstream6      = netip.MustParseAddr("fd00:2::2")
)

// NewTrio returns a line of three namespaces for a test, with the rules of New.
func NewTrio(t TB) *Trio {
	t.Helper()
	trio, err := New(t).Trio()
	if err != nil {
		t.Fatalf("make client - proxy - upstream: %v", err)
	}
	return trio
}

// Trio adds a line client - proxy - upstream to the lab.
func (l *Lab) Trio() (*Trio, error) {
	client, errC := l.Add("client")
	proxy, errP := l.Add("proxy")
	upstream, errU := l.Add("upstream")
	if err := errors.Join(errC, errP, errU); err != nil {
		return nil, err
	}
	t := &Trio{Lab: l, Client: client, Proxy: proxy, Upstream: upstream}
	err := errors.Join(
		l.Connect(end(client, "proxy0", Client4, Client6), end(proxy, "client0", ProxyClient4, ProxyClient6)),
		l.Connect(end(upstream, "proxy0", Upstream4, Upstream6), end(proxy, "upstream0", ProxyUpstream4, ProxyUpstream6)),
	)
	if err != nil {
		return nil, err
	}
	return t, errors.Join(client.AddRoute(Prefix4, ProxyClient4), client.AddRoute(Prefix6, ProxyClient6))
}

// end gives an interface its addresses: links are /24 and /64.
func end(in *Namespace, name string, v4, v6 netip.Addr) End {
	return End{In: in, Name: name, Addrs: []netip.Prefix{netip.PrefixFrom(v4, 24), netip.PrefixFrom(v6, 64)}}
}
