package dns

import (
	"strconv"
	"time"

	"anyport/proxy/dns/wire"
)

// Snapshot is a server's counters at one moment, since it was made. Counters only grow; zeros are left out of the maps.
type Snapshot struct {
	Queries    map[string]uint64 // by record type; "other" for types without a name here
	Responses  map[string]uint64 // by response code
	Transports map[string]uint64 // packets and TCP messages, by transport
	Drops      map[string]uint64 // packets that got no response, by reason
	Truncated  uint64            // responses with TC set, those of the rate limit included
	Limited    uint64            // responses held back by the rate limit: Drops["rate_limited"] and those sent truncated
	TCPRefused uint64            // TCP connections closed because there were too many
	TCPOpen    int               // TCP connections now
	Kernel     uint32            // packets that the kernel dropped because the receive buffer was full, modulo 2^32
	LogDropped uint64            // lines that the query log lost
	Zones      int
	Latency    Latency
}

// Latency is how long responses took, from the moment their batch was read to the one it was sent.
type Latency struct {
	Below []time.Duration // upper bounds, ascending; the last one takes all that is longer, too
	Count []uint64        // responses, by bound
	Sum   time.Duration
}

// Snapshot returns the counters.
func (s *Server) Snapshot() Snapshot {
	n := Snapshot{
		Queries: map[string]uint64{}, Responses: map[string]uint64{}, Transports: map[string]uint64{},
		Drops: map[string]uint64{}, TCPRefused: s.stats.tcpRefused.Load(), TCPOpen: s.streams.count(),
		Kernel: s.udp.Drops(), Zones: len(s.zones.Load().List()),
		Latency: Latency{Below: make([]time.Duration, numBuckets), Count: make([]uint64, numBuckets)},
	}
	if s.log != nil {
		n.LogDropped = s.log.dropped.Load()
	}
	for i := range n.Latency.Below {
		n.Latency.Below[i] = bound(i)
	}
	for i := range s.stats.shards {
		n.add(&s.stats.shards[i])
	}
	n.Limited += n.Drops[DropLimited.String()]
	return n
}

// add adds up one shard.
func (n *Snapshot) add(s *shard) {
	for i := range s.queries {
		addTo(n.Queries, typeSlotName(i), s.queries[i].Load())
	}
	for i := range s.rcodes {
		addTo(n.Responses, rcodeSlotName(i), s.rcodes[i].Load())
	}
	for i := range s.transports {
		addTo(n.Transports, Transport(i).String(), s.transports[i].Load())
	}
	for i := range s.drops {
		addTo(n.Drops, Drop(i).String(), s.drops[i].Load())
	}
	n.Truncated += s.truncated.Load()
	n.Limited += s.slipped.Load()
	for i := range s.latency.buckets {
		n.Latency.Count[i] += s.latency.buckets[i].Load()
	}
	n.Latency.Sum += time.Duration(s.latency.nanos.Load())
}

func addTo(m map[string]uint64, name string, n uint64) {
	if n > 0 {
		m[name] += n
	}
}

func typeSlotName(slot int) string {
	if slot == other {
		return "other"
	}
	return types[slot]
}

func rcodeSlotName(slot int) string {
	if slot == numRcodes-1 {
		return "other"
	}
	return wire.Rcode(slot).String()
}

// TypeName returns a record type's mnemonic, or the form of RFC 3597 section 5.
func TypeName(t uint16) string {
	if slot := typeSlot(t); slot != other {
		return types[slot]
	}
	return "TYPE" + strconv.Itoa(int(t))
}
