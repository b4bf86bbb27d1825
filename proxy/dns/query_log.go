package dns

import (
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"

	"anyport/proxy/dns/answer"
	"anyport/proxy/dns/wire"
)

// queryLog writes one query in so many to a log. Who answers never waits for it: what the log cannot take is dropped
// and counted.
type queryLog struct {
	logger  *slog.Logger
	every   uint64
	lines   chan queryRecord
	dropped atomic.Uint64
}

// queryRecord is one line of the log.
type queryRecord struct {
	time      time.Time
	transport Transport
	client    netip.AddrPort
	server    netip.AddrPort // the address that was asked
	name      wire.Name
	kind      uint16
	class     uint16
	rcode     wire.Rcode
	size      int
	truncated bool
}

// logBacklog is how many lines may wait.
const logBacklog = 256

func newQueryLog(logger *slog.Logger, every int) *queryLog {
	return &queryLog{logger: logger, every: uint64(every), lines: make(chan queryRecord, logBacklog)}
}

// due counts a query and reports whether it is to be logged. A nil log logs none.
func (l *queryLog) due(seen *atomic.Uint64) bool {
	return l != nil && seen.Add(1)%l.every == 0
}

func record(
	now time.Time, t Transport, client, server netip.AddrPort, q *wire.Query, res *answer.Result,
) queryRecord {
	r := queryRecord{
		time: now, transport: t, client: client, server: server,
		kind: res.Type, class: res.Class, rcode: res.Rcode, size: res.Size, truncated: res.Truncated,
	}
	if len(q.Question) > 0 {
		r.name = q.Name
	}
	return r
}

func (l *queryLog) offer(r queryRecord) {
	select {
	case l.lines <- r:
	default:
		l.dropped.Add(1)
	}
}

// run writes lines until stop is closed.
func (l *queryLog) run(stop <-chan struct{}) error {
	for {
		select {
		case <-stop:
			return nil
		case r := <-l.lines:
			l.write(&r)
		}
	}
}

func (l *queryLog) write(r *queryRecord) {
	l.logger.Info("query",
		"time", r.time, "transport", r.transport.String(), "client", r.client, "server", r.server,
		"name", r.name.String(), "type", TypeName(r.kind), "class", r.class, "rcode", r.rcode.String(),
		"size", r.size, "truncated", r.truncated)
}
