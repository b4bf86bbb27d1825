package dns

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/netip"
	"sync"
	"testing"

	"github.com/miekg/dns"

	"anyport/bench/netlab"
)

// logBuffer collects a log that is written while it is read.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// queries returns the lines of the query log.
func (l *logBuffer) queries(t *testing.T) (lines []map[string]any) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range bytes.Lines(l.b.Bytes()) {
		var m map[string]any
		must(t, json.Unmarshal(line, &m))
		if m["msg"] == "query" {
			lines = append(lines, m)
		}
	}
	return lines
}

func TestQueryLog(t *testing.T) {
	var log logBuffer
	s := start(t, Options{Logger: slog.New(slog.NewJSONHandler(&log, nil)), LogEvery: 1, Workers: 1})
	exchange(t, "udp", s.udpAddress(), question("WWW.example.test.", dns.TypeA))
	exchange(t, "tcp", s.tcpAddress(), question("none.example.test.", 4242))
	netlab.Eventually(t, "two lines", func() bool { return len(log.queries(t)) == 2 })
	for i, want := range []map[string]any{
		{"transport": "udp4", "server": s.udpAddress(), "name": "www.example.test.", "type": "A", "rcode": "NOERROR"},
		{"transport": "tcp4", "server": s.tcpAddress(), "name": "none.example.test.", "type": "TYPE4242",
			"rcode": "NXDOMAIN"},
	} {
		got := log.queries(t)[i]
		for key, value := range want {
			if got[key] != value {
				t.Errorf("line %d: %s is %v, want %v", i, key, got[key], value)
			}
		}
		if client, err := netip.ParseAddrPort(got["client"].(string)); err != nil || !client.Addr().IsLoopback() {
			t.Errorf("line %d: client %v", i, got["client"])
		}
	}
}

func TestQueryLogSamples(t *testing.T) {
	var log logBuffer
	s := start(t, Options{Logger: slog.New(slog.NewJSONHandler(&log, nil)), LogEvery: 10, Workers: 1})
	for range 50 {
		exchange(t, "udp", s.udpAddress(), question("www.example.test.", dns.TypeA))
	}
	netlab.Eventually(t, "five lines", func() bool { return len(log.queries(t)) == 5 })
}

// Nobody waits for a log that nobody reads.
func TestQueryLogDrops(t *testing.T) {
	l := newQueryLog(slog.Default(), 1)
	for range logBacklog + 10 {
		l.offer(queryRecord{})
	}
	if n := l.dropped.Load(); n != 10 {
		t.Errorf("%d lines dropped", n)
	}
}
