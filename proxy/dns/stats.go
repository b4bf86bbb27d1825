package dns

import (
	"log/slog"
	"math/bits"
	"sync/atomic"
	"time"

	"anyport/proxy/dns/answer"
	"anyport/proxy/dns/wire"
)

// Transport is how a query came.
type Transport uint8

const (
	UDP4 Transport = iota
	UDP6
	TCP4
	TCP6
	numTransports
)

// String returns "udp4", "udp6", "tcp4" or "tcp6".
func (t Transport) String() string { return [...]string{"udp4", "udp6", "tcp4", "tcp6"}[t] }

// Drop says why a packet got no response.
type Drop uint8

const (
	DropSilent  Drop = iota // it is no query: too short, or itself a response
	DropLimited             // there were too many responses like it
	DropAddress             // it has no address to reply to or from
	DropSend                // sending failed
	numDrops
)

// String returns the word that metrics use.
func (d Drop) String() string {
	return [...]string{"not_a_query", "rate_limited", "no_address", "send_error"}[d]
}

// Stats is a server's counters.
type Stats struct {
	start      time.Time
	shards     []shard // one a UDP worker, then one for all of TCP
	tcpRefused atomic.Uint64
	lastWarn   atomic.Int64 // nanoseconds since start
}

// shard is one worker's counters. Anyone may read.
type shard struct {
	queries    [numTypes]atomic.Uint64
	rcodes     [numRcodes]atomic.Uint64
	transports [numTransports]atomic.Uint64
	drops      [numDrops]atomic.Uint64
	truncated  atomic.Uint64
	slipped    atomic.Uint64
	sampled    atomic.Uint64 // queries that the log counted
	latency    histogram
	_          [64]byte // keep the next shard off this one's last cache line
}

func newStats(workers int) *Stats {
	return &Stats{start: time.Now(), shards: make([]shard, workers+1)}
}

func (s *Stats) tcp() *shard { return &s.shards[len(s.shards)-1] }

// warn logs a fault of the network at most once a second; the counters tell how many there are.
func (s *Stats) warn(l *slog.Logger, text string, err error) {
	now, last := int64(time.Since(s.start)), s.lastWarn.Load()
	if (last == 0 || now-last >= int64(time.Second)) && s.lastWarn.CompareAndSwap(last, now) {
		l.Warn(text, "error", err)
	}
}

// count counts a query and what became of it.
func (s *shard) count(t Transport, r *answer.Result) {
	s.transports[t].Add(1)
	if r.Outcome == answer.Silence {
		s.drops[DropSilent].Add(1)
		return
	}
	s.queries[typeSlot(r.Type)].Add(1)
	if r.Size == 0 {
		return
	}
	s.rcodes[rcodeSlot(r.Rcode)].Add(1)
	if r.Truncated {
		s.truncated.Add(1)
	}
}

func (s *shard) drop(d Drop, n int) { s.drops[d].Add(uint64(n)) }

// histogram counts durations by powers of two.
type histogram struct {
	buckets [numBuckets]atomic.Uint64
	nanos   atomic.Uint64
}

// The first bucket takes what is below 2 us, the last what is above 16 ms; a batch takes some 10 to 200 us.
const (
	firstBucket = 11 // 2^11 ns
	numBuckets  = 15
)

// add counts n durations of d.
func (h *histogram) add(d time.Duration, n int) {
	i := min(max(bits.Len64(uint64(d))-firstBucket, 0), numBuckets-1)
	h.buckets[i].Add(uint64(n))
	h.nanos.Add(uint64(d) * uint64(n))
}

// bound returns what the durations in bucket i are below.
func bound(i int) time.Duration { return 1 << (firstBucket + i) }

// Slots of record types: those that have names here, and one for all others.
var types = [...]string{
	wire.TypeA: "A", wire.TypeNS: "NS", wire.TypeCNAME: "CNAME", wire.TypeSOA: "SOA", wire.TypePTR: "PTR",
	13: "HINFO", wire.TypeMX: "MX", wire.TypeTXT: "TXT", wire.TypeAAAA: "AAAA", 29: "LOC", wire.TypeSRV: "SRV",
	35: "NAPTR", wire.TypeDNAME: "DNAME", wire.TypeDS: "DS", 44: "SSHFP", wire.TypeRRSIG: "RRSIG",
	wire.TypeNSEC: "NSEC", 48: "DNSKEY", 50: "NSEC3", 51: "NSEC3PARAM", 52: "TLSA", 59: "CDS", 60: "CDNSKEY",
	64: "SVCB", 65: "HTTPS", wire.TypeIXFR: "IXFR", wire.TypeAXFR: "AXFR", wire.TypeANY: "ANY", 257: "CAA",
}

const (
	numTypes = len(types)
	other    = 0 // the slot of types without a name
)

func typeSlot(t uint16) int {
	if int(t) < len(types) && types[t] != "" {
		return int(t)
	}
	return other
}

// numRcodes is the number of slots for response codes: those below 16, BADVERS among them, and one for all others.
const numRcodes = int(wire.BadVers) + 2

func rcodeSlot(r wire.Rcode) int { return min(int(r), numRcodes-1) }
