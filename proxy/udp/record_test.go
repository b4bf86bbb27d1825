package udp

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"anyport/bench/netlab"
	"anyport/proxy/stats"
)

// logLine is a line of the access log.
type logLine struct {
	Start                         time.Time `json:"time"`
	Duration                      float64   `json:"duration_seconds"`
	Protocol, Route, Reason       string
	Client, Destination, Upstream netip.AddrPort
	PacketsIn                     uint64 `json:"datagrams_in"`
	PacketsOut                    uint64 `json:"datagrams_out"`
	BytesIn                       uint64 `json:"bytes_in"`
	BytesOut                      uint64 `json:"bytes_out"`
}

// log gives the engine, which does not run yet, an access log. The function that it returns closes the engine and reads
// the log.
func (r *rig) log(t *testing.T) func() []logLine {
	t.Helper()
	path := filepath.Join(t.TempDir(), "access.log")
	log, err := stats.OpenAccessLog(path)
	must(t, err)
	r.engine.w.accessLog = log
	return func() []logLine {
		must(t, r.engine.Close())
		log.Close()
		text, err := os.ReadFile(path)
		must(t, err)
		var lines []logLine
		for d := json.NewDecoder(bytes.NewReader(text)); d.More(); {
			var line logLine
			must(t, d.Decode(&line))
			lines = append(lines, line)
		}
		return lines
	}
}

// TestRecord reads the access log line of a flow that times out, and the counters of its route.
func TestRecord(t *testing.T) {
	t.Parallel()
	r := newRig(t, 100, spec{upstream: to("10.2.0.2:7777"), idle: 500 * time.Millisecond})
	lines := r.log(t)
	began := time.Now()
	r.run(t)
	echo(t, listen(t, r.Upstream, "[::]:7777"))
	c := dial(t, r.Client, "[2001:db8::1]:9")
	for _, size := range []int{10, 0, 200} {
		exchange(t, c, randomBytes(size))
	}
	netlab.Eventually(t, "the flow to end", func() bool { return r.engine.Active() == 0 })
	line := lines()[0]
	if line.Protocol != "udp" || line.Route != "0" || line.Reason != "idle_timeout" ||
		line.Client.String() != c.LocalAddr().String() || line.Destination.String() != "[2001:db8::1]:9" ||
		line.Upstream.String() != "10.2.0.2:7777" || line.BytesIn != 210 || line.BytesOut != 210 ||
		line.PacketsIn != 3 || line.PacketsOut != 3 {
		t.Errorf("access log: %+v", line)
	}
	if line.Start.Before(began.Add(-time.Millisecond)) || line.Duration < 0.5 {
		t.Errorf("began at %v, took %v s", line.Start, line.Duration)
	}
	sum := stats.Sum(r.registry.Route("0").UDP)
	if sum.Opened != 1 || sum.Active != 0 || sum.PacketsIn != 3 || sum.PacketsOut != 3 || sum.BytesIn != 210 ||
		sum.BytesOut != 210 {
		t.Errorf("counters %+v", sum)
	}
}

// TestLogAndCountersAgree opens flows that end for several reasons, in both families, and adds up their lines.
func TestLogAndCountersAgree(t *testing.T) {
	t.Parallel()
	const flows = 200
	r := newRig(t, flows/2, spec{upstream: to("10.2.0.2:7777"), idle: 2 * time.Second})
	lines := r.log(t)
	r.run(t)
	echo(t, listen(t, r.Upstream, "[::]:7777"))
	for i := range flows {
		c := dial(t, r.Client, fmt.Sprintf([]string{"198.18.0.1:%d", "[2001:db8::1]:%d"}[i%2], i+1))
		for range 1 + i%3 {
			_, err := c.Write(randomBytes(rand.IntN(3000)))
			must(t, err)
		}
		if i == flows/2 {
			netlab.Eventually(t, "flows to be old enough to be evicted", func() bool {
				send(t, r, "198.18.0.1:1")
				return r.ended("0", stats.Evicted) > 0
			})
		}
	}
	netlab.Eventually(t, "some flows to time out", func() bool { return r.ended("0", stats.IdleTimeout) > 0 })
	_, err := dial(t, r.Client, "198.18.0.1:1").Write([]byte("open at the end"))
	must(t, err)
	netlab.Eventually(t, "the last flow", func() bool { return r.engine.Active() > 0 })

	got := stats.Totals{Ended: make(map[string]uint64)}
	for _, line := range lines() {
		got.Ended[line.Reason]++
		got.Opened++
		got.PacketsIn += line.PacketsIn
		got.PacketsOut += line.PacketsOut
		got.BytesIn += line.BytesIn
		got.BytesOut += line.BytesOut
	}
	want := stats.Sum(r.registry.Route("0").UDP)
	want.Opened -= want.Ended["limit"] // these never began
	delete(want.Ended, "limit")
	if diff := cmp.Diff(want, got); diff != "" || len(got.Ended) != 3 {
		t.Errorf("%d reasons; counters and log differ (-counters +log):\n%s", len(got.Ended), diff)
	}
}

// TestIdleTimeout keeps one flow alive by datagrams from its client alone, one by replies alone, and one not at all.
func TestIdleTimeout(t *testing.T) {
	t.Parallel()
	const idle = 2 * time.Second
	r := newRig(t, 100, spec{upstream: to("10.2.0.2:7777"), idle: idle})
	r.run(t)
	server := listen(t, r.Upstream, "[::]:7777")
	fromClient, fromUpstream, silent := dial(t, r.Client, "198.18.0.1:1"), dial(t, r.Client, "[2001:db8::1]:2"),
		dial(t, r.Client, "198.18.0.1:3")
	_, err := fromUpstream.Write([]byte("?"))
	must(t, err)
	_, nat := receive(t, server)
	_, err = silent.Write([]byte("?"))
	must(t, err)
	netlab.Eventually(t, "the silent flow to end", func() bool {
		_, err := fromClient.Write([]byte("?"))
		must(t, err)
		_, err = server.WriteToUDPAddrPort([]byte("!"), nat)
		must(t, err)
		return r.ended("0", stats.IdleTimeout) == 1
	})
	if n := r.engine.Active(); n != 2 {
		t.Errorf("%d flows are left, want 2", n)
	}
}

// TestKernelDrops fills the clients' socket while nobody reads it.
func TestKernelDrops(t *testing.T) {
	r := newRig(t, 100, echoUpstream)
	c := dial(t, r.Client, "198.18.0.1:9")
	netlab.Eventually(t, "the receive buffer to be full", func() bool {
		for range 100 {
			_, err := c.Write(randomBytes(1400))
			must(t, err)
		}
		clients, _ := r.engine.KernelDrops()
		return clients > 0
	})
	if _, replies := r.engine.KernelDrops(); replies != 0 {
		t.Errorf("%d replies dropped", replies)
	}
}
