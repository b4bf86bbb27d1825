package upstream

import (
	"context"
	"net"
)

// Resolver looks names up as the host's resolv.conf(5) and hosts(5) say. The zero value is ready for use, by any number
// of goroutines.
type Resolver struct {
	// Dial connects to a DNS server, over "udp" or "tcp"; nil is net.Dialer's.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Lookup returns the addresses of a name, and the least TTL of the records that lead to them, aliases included. Go's
// resolver keeps TTLs to itself, so that they are read from the messages that it gets. A name in the hosts file has TTL
// 0.
func (r *Resolver) Lookup(ctx context.Context, host string) (Answer, error) {
	dial := r.Dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	var ttl leastTTL
	resolver := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return ttl.watch(c), nil
	}}
	addrs, err := resolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return Answer{}, err
	}
	return Answer{Addrs: addrs, TTL: ttl.get()}, nil
}
