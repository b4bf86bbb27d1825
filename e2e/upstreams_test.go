package e2e

import (
	"testing"
)

// TestFamiliesCross sends clients of each family to an upstream of the other.
func TestFamiliesCross(t *testing.T) {
	w := newWorld(t)
	w.upstreams(7000, echoAs("upstream"))
	w.run(prefixes + `
[[route]]
prefix = ["198.18.0.0/20"]
upstream = ["[fd00:2::2]:7000"]
[[route]]
prefix = ["2001:db8::/48"]
upstream = ["10.2.0.2:7000"]
`)
	for _, f := range families {
		for range 10 {
			checkGreeting(t, w, f.destination(w.rng), "upstream")
		}
	}
}

// TestOffsetPort dials the original port plus an offset.
func TestOffsetPort(t *testing.T) {
	w := newWorld(t)
	w.upstreams(7042, echoAs("upstream"))
	w.run(prefixes + `
[[route]]
ports = "1-60000"
upstream = ["10.2.0.2:+42"]
`)
	for _, f := range families {
		checkGreeting(t, w, withPort(f.address(w.rng), 7000), "upstream")
	}
}

// TestNextUpstreamAfterRefusal gives a route a dead upstream beside a live one: every TCP connection still succeeds.
func TestNextUpstreamAfterRefusal(t *testing.T) {
	w := newWorld(t)
	w.upstreams(7000, echoAs("upstream"))
	w.run(prefixes + `
[[route]]
protocol = "tcp"
upstream = ["10.2.0.2:7999", "10.2.0.2:7000"]
balance = "round_robin"
`)
	for _, f := range families {
		for range 10 {
			if err := tryEcho(w.Client, f.destination(w.rng), "upstream\n", []byte("hello")); err != nil {
				t.Error(err)
			}
		}
	}
}
