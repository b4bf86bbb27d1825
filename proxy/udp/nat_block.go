package udp

import (
	"math/rand/v2"
	"slices"
	"time"

	"anyport/conf/rule"
	"anyport/proxy/sock"
)

// quarantine is how long a NAT port rests after its flow has ended before another flow gets it. A reply that comes
// later than that, from the very upstream and port that the new flow has, would reach the new flow's client.
const quarantine = 2 * time.Second

// quarantineTicks is quarantine in ticks.
var quarantineTicks = ticksIn(quarantine)

// natBlock is ports of one NAT address, and hands them out.
type natBlock struct {
	addr   sock.Addr        // Port is 0
	wanted rule.PortRange   // what AddSource was asked for
	ranges []rule.PortRange // what it got, sorted; what lies between them is not ours
	number uint32           // of the block in the flow table
	base   flowID           // the flow of the first port
	free   []uint16         // offsets from the first port, in no order

	shortUntil tick // see short
}

func newNATBlock(addr sock.Addr, wanted rule.PortRange, ranges []rule.PortRange) *natBlock {
	b := &natBlock{addr: addr, wanted: wanted, ranges: ranges}
	b.free = make([]uint16, 0, b.span())
	for _, r := range ranges {
		for p := int(r.First); p <= int(r.Last); p++ {
			b.free = append(b.free, uint16(p)-b.first())
		}
	}
	return b
}

func (b *natBlock) first() uint16 { return b.ranges[0].First }
func (b *natBlock) last() uint16  { return b.ranges[len(b.ranges)-1].Last }

// span returns how many places in the flow table the block takes.
func (b *natBlock) span() int { return int(b.last()) - int(b.first()) + 1 }

// port returns the NAT port of a flow of the block.
func (b *natBlock) port(id flowID) uint16 { return b.first() + uint16(id-b.base) }

// owns reports whether a place in the flow table stands for a port of the block.
func (b *natBlock) owns(id flowID) bool {
	if id < b.base || int(id-b.base) >= b.span() {
		return false
	}
	port := b.port(id)
	return slices.ContainsFunc(b.ranges, func(r rule.PortRange) bool { return r.First <= port && port <= r.Last })
}

// take takes a free port, or returns noFlow. It chooses at random: an attacker who does not see the traffic must not be
// able to guess the port (RFC 5452, section 9.2; math/rand/v2's functions are ChaCha8, seeded by the system).
func (b *natBlock) take() flowID {
	n := len(b.free)
	if n == 0 {
		return noFlow
	}
	i := rand.IntN(n)
	offset := b.free[i]
	b.free[i] = b.free[n-1]
	b.free = b.free[:n-1]
	return b.base + flowID(offset)
}

// give gives a port back that has rested.
func (b *natBlock) give(id flowID) {
	b.free = append(b.free, uint16(id-b.base))
}

// short reports whether ports are running out: all but a sixty-fourth are taken or rest, or were within the last
// quarantine, so that it does not change its mind whenever a few come back.
func (b *natBlock) short(now tick) bool {
	if len(b.free) <= cap(b.free)/64 {
		b.shortUntil = now + quarantineTicks
	}
	return now < b.shortUntil
}
