package offload

import (
	"time"

	"anyport/proxy/sock"
)

// egressLife is how long an answer of the routing tables is good: long against the cost of the question, short for
// whoever changes a route.
const egressLife = 250 * time.Millisecond

// egressSize is how many pairs of source and destination are remembered, one for each value of a hash. Two that share one
// are asked for whenever they take turns, and a train then costs a quarter more.
const (
	egressBits = 10
	egressSize = 1 << egressBits
)

// egressCache remembers by which devices datagrams leave.
type egressCache struct {
	query   *routeQuery
	entries [egressSize]egress
}

// egress is the way out to one destination.
type egress struct {
	src, dst sock.Addr
	until    time.Duration // as the caller's clock has it; 0: the entry is free
	device   uint32        // 0: none that trains can leave by
	limit    int           // datagrams of more bytes do not fit through; 0: not known
}

// find returns the entry for datagrams from src to dst.
func (c *egressCache) find(src, dst *sock.Addr, now time.Duration) *egress {
	e := &c.entries[egressPlace(src, dst)]
	if now < e.until && e.src == *src && e.dst == *dst {
		return e
	}
	device, mtu := c.query.way(src, dst)
	*e = egress{src: *src, dst: *dst, until: now + egressLife, device: device}
	if mtu > 0 {
		e.limit = mtu - sock.PacketSize(dst, 0)
	}
	return e
}

// egressPlace returns the hash of a source and a destination. Between flows to one upstream only the sources' ports
// differ, between flows of one original destination only the clients. A multiplicative hash (Knuth, The Art of Computer
// Programming, section 6.4; its factor is 2^32 divided by the golden ratio) spreads neighbours.
func egressPlace(src, dst *sock.Addr) uint32 {
	ends := uint32(src.Port^dst.Port) | uint32(src.IP[15]^dst.IP[15])<<16 | uint32(src.IP[14]^dst.IP[14])<<24
	return ends * 0x9e3779b1 >> (32 - egressBits)
}
