package e2e

import (
	"strings"
	"testing"
)

// TestConnectionRate opens connections until the source is over its rate: the next ones are refused on the wire before a
// handshake, other routes and UDP are not, and metrics and explain tell of it.
func TestConnectionRate(t *testing.T) {
	w := newWorld(t)
	w.upstreams(7000, echo)
	w.run(prefixes + `
[[route]]
name = "rated"
ports = "80"
upstream = ["10.2.0.2:7000"]
connection_rate_per_source = "1/h"
connection_burst_per_source = 3
[[route]]
name = "free"
ports = "81"
upstream = ["10.2.0.2:7000"]
`)
	wire := startCapture(t, w.Client, "proxy0")
	for _, f := range families {
		addr := f.address(w.rng)
		for range 3 {
			if err := tryEcho(w.Client, withPort(addr, 80), "", []byte("hello")); err != nil {
				t.Error(err)
			}
		}
		addr = addr.Next() // the rate is the source's, whichever address it dials
		checkRefused(t, w, wire, withPort(addr, 80))
		for range 5 {
			if err := tryEcho(w.Client, withPort(addr, 81), "", []byte("hello")); err != nil {
				t.Error(err)
			}
		}
		out, _, status := w.anyport("explain", withPort(addr, 80).String()+"/tcp")
		if status != 0 || !strings.Contains(out, "  rate:     3 connections at once from one /") {
			t.Errorf("explain ended with %d and says\n%s", status, out)
		}
	}
	if text := w.metrics("/metrics"); !strings.Contains(text, `anyport_steering_rate_limited_total{rule="rated"} 2`) {
		t.Errorf("2 connections were over the rate; the metrics say\n%s", text)
	}
}
