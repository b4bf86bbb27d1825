package tcp

import (
	"os"
	"strings"
	"testing"
	"time"

	"anyport/bench/netlab"
	"anyport/proxy/route"
	"anyport/proxy/stats"
)

// A long connection has lines in the access log before its last one, with or without an idle timeout; they add nothing
// to what the log's sums are (see compareLog).
func TestProgressLines(t *testing.T) {
	for _, idle := range []time.Duration{0, time.Hour} {
		t.Run(idle.String(), func(t *testing.T) { testProgressLines(t, idle) })
	}
}

func testProgressLines(t *testing.T, idle time.Duration) {
	up := newServer(t, v4.upstream)
	r := newRig(t, v4, setup{upstreams: addrs(up), route: route.Route{TCPIdle: idle},
		options: func(o *Options) { o.LogProgress = 100 * time.Millisecond }})
	client, upstream := r.dial(), up.accept()
	talk(client, upstream)
	for n := range 3 {
		r.awaitLines(2*n + 2)
		talk(client, upstream)
	}
	client.rst()
	r.awaitEnded(stats.ClientReset, 1)
	all := r.records()
	if len(all) < 7 {
		t.Fatalf("%d lines: %+v", len(all), all)
	}
	for i, rec := range all[:len(all)-1] {
		next := all[i+1]
		switch {
		case rec.Reason != "open" || rec.Upstream == nil || *rec.Upstream != up.addr || rec.Error != "":
			t.Errorf("line %d: %+v", i, rec)
		case next.Client != rec.Client || next.BytesIn < rec.BytesIn || next.BytesOut < rec.BytesOut:
			t.Errorf("after %+v came %+v", rec, next)
		case rec.Duration < 0.1*float64(i+1) || next.Duration < rec.Duration:
			t.Errorf("line %d came after %f s, the next one after %f s", i, rec.Duration, next.Duration)
		}
	}
	if last := all[len(all)-1]; last.Reason != stats.ClientReset.String() || last.BytesIn != 4*some ||
		last.BytesOut != 4*lots {
		t.Errorf("last line: %+v", last)
	}
}

// awaitLines waits until the access log has n lines.
func (r *rig) awaitLines(n int) {
	r.t.Helper()
	netlab.Eventually(r.t, "the access log has more lines", func() bool {
		text, err := os.ReadFile(r.logPath)
		return err == nil && strings.Count(string(text), "\n") >= n
	})
}
