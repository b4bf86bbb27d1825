package offload

import (
	"time"

	"anyport/proxy/sock"
)

// egressLife is how long an answer of the routing tables is good: long against the cost of the question, short for
// whoever changes a route.
const egressLife = 250 * time.Millisecond

// egressSize is how many destinations are remembered, one for each value of a hash. With more of them under way at
// once, some are asked for again sooner.
const egressSize = 256

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
	e := &c.entries[(uint32(dst.IP[15])^uint32(dst.Port)^uint32(dst.Port)>>8^uint32(src.IP[15]))%egressSize]
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
