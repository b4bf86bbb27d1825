package bench

import (
	"net/netip"
	"slices"
	"testing"
	"time"
)

// TestPercentiles checks nearest-rank percentiles, and that a moment in which everything was slow counts in one of all
// answers, but not in the usual one.
func TestPercentiles(t *testing.T) {
	var took []time.Duration
	for range 5 {
		for i := range 100 {
			took = append(took, time.Duration(i+1))
		}
	}
	for i := range 100 {
		took[100+i] += 10_000 // the second stretch
	}
	took = append(took, 1_000_000) // less than a stretch
	l := &tcpRate{took: took}
	before := slices.Clone(took)
	for _, test := range []struct {
		name      string
		got, want time.Duration
	}{
		{"median", l.percentile(0.5), 63},
		{"99 % of all", l.percentile(0.99), 10_096},
		{"usual median", l.usualPercentile(0.5, 100), 50},
		{"usual 99 %", l.usualPercentile(0.99, 100), 99},
		{"one stretch", l.usualPercentile(0.99, 1000), l.percentile(0.99)},
	} {
		if test.got != test.want {
			t.Errorf("%s is %d, want %d", test.name, test.got, test.want)
		}
	}
	if !slices.Equal(took, before) {
		t.Error("the order of the answers has changed")
	}
}

// A thread that gets its turn only when the time is over asks nothing.
func TestRateThatComesTooLate(t *testing.T) {
	l := newTCPRate(netip.AddrPort{}, rateConnections, requestsPerSecond)
	if err := l.run(time.Now().Add(-time.Minute)); err != nil || len(l.took) > 0 {
		t.Errorf("%d answers, %v", len(l.took), err)
	}
}
