// Package stats counts what the data planes do and tells it: per-worker counters that two cores never share, an access
// log with one line for each connection and flow, and a Prometheus collector over both.
//
// The data planes write [Shard] fields and offer [Record] values; nothing they call blocks or allocates. Everything
// else in the package reads.
package stats

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"anyport/proxy/limit"
)

// Shard is one worker's counters for one route and protocol. Only that worker adds to it; anyone may read. The number
// of connections or flows that are open now is Opened less the sum of Ended.
type Shard struct {
	Opened     atomic.Uint64
	Ended      [NumReasons]atomic.Uint64
	BytesIn    atomic.Uint64 // payload bytes from clients
	BytesOut   atomic.Uint64 // payload bytes to clients
	PacketsIn  atomic.Uint64 // UDP: datagrams from clients
	PacketsOut atomic.Uint64 // UDP: datagrams to clients
	PacketsCut atomic.Uint64 // of these, those longer than max_datagram
	_          [64]byte      // keep the next shard off this one's last cache line
}

// Route is the counters of one route, which outlive a reload as long as the route keeps its name.
type Route struct {
	Name    string
	TCP     []Shard    // one a worker
	UDP     []Shard    // one a worker
	OpenTCP limit.Gate // connections that are open now, but for those that were refused
	OpenUDP limit.Gate // flows that are open now
}

// Drops is one worker's count of datagrams that were not forwarded, and of ICMP errors about those that were.
type Drops struct {
	N    [NumDrops]atomic.Uint64
	ICMP [NumICMP]atomic.Uint64
	_    [64]byte
}

// Registry holds the counters of every route that ever was, and of the traffic that belongs to none.
type Registry struct {
	workers  int
	Unrouted *Route  // for connections and flows that no route claims; its name is ""
	Drops    []Drops // one a worker

	mu     sync.Mutex // guards the field below
	routes map[string]*Route
}

// NewRegistry returns a registry with a shard for each of n workers.
func NewRegistry(n int) *Registry {
	r := &Registry{workers: n, Drops: make([]Drops, n), routes: make(map[string]*Route)}
	r.Unrouted = r.newRoute("")
	return r
}

func (r *Registry) newRoute(name string) *Route {
	return &Route{Name: name, TCP: make([]Shard, r.workers), UDP: make([]Shard, r.workers)}
}

// Route returns the counters of the route of that name, made on first use.
func (r *Registry) Route(name string) *Route {
	r.mu.Lock()
	defer r.mu.Unlock()
	rt := r.routes[name]
	if rt == nil {
		rt = r.newRoute(name)
		r.routes[name] = rt
	}
	return rt
}

// Routes returns every route's counters by name, the unrouted traffic's first.
func (r *Registry) Routes() []*Route {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := []*Route{r.Unrouted}
	for _, rt := range r.routes {
		all = append(all, rt)
	}
	slices.SortFunc(all, func(a, b *Route) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// SumDrops returns the datagrams that were not forwarded, by Drop.
func (r *Registry) SumDrops() [NumDrops]uint64 {
	var sum [NumDrops]uint64
	for i := range r.Drops {
		for d := range sum {
			sum[d] += r.Drops[i].N[d].Load()
		}
	}
	return sum
}

// SumICMP returns the ICMP errors about datagrams to upstreams, by ICMP.
func (r *Registry) SumICMP() [NumICMP]uint64 {
	var sum [NumICMP]uint64
	for i := range r.Drops {
		for what := range sum {
			sum[what] += r.Drops[i].ICMP[what].Load()
		}
	}
	return sum
}

// Totals is the sum of some shards at one moment.
type Totals struct {
	Opened     uint64            `json:"opened"`
	Active     uint64            `json:"active"`
	Ended      map[string]uint64 `json:"ended"` // by Reason, without zeros
	BytesIn    uint64            `json:"bytes_in"`
	BytesOut   uint64            `json:"bytes_out"`
	PacketsIn  uint64            `json:"packets_in,omitempty"`
	PacketsOut uint64            `json:"packets_out,omitempty"`
	PacketsCut uint64            `json:"packets_cut,omitempty"`
}

// Sum adds shards up. Ended is read before Opened, so Active is never negative.
func Sum(shards []Shard) Totals {
	t := Totals{Ended: make(map[string]uint64)}
	var ended uint64
	for i := range shards {
		s := &shards[i]
		for r := range s.Ended {
			if n := s.Ended[r].Load(); n > 0 {
				t.Ended[Reason(r).String()] += n
				ended += n
			}
		}
		t.Opened += s.Opened.Load()
		t.BytesIn += s.BytesIn.Load()
		t.BytesOut += s.BytesOut.Load()
		t.PacketsIn += s.PacketsIn.Load()
		t.PacketsOut += s.PacketsOut.Load()
		t.PacketsCut += s.PacketsCut.Load()
	}
	t.Active = t.Opened - ended
	return t
}
