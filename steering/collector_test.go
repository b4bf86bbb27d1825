package steering

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"anyport/conf/rule"
)

// TestCollector scrapes after some packets, and lints what comes out.
func TestCollector(t *testing.T) {
	w := newWorld(t)
	s := w.load()
	w.makeLocal(prefix4, prefix6)
	all := newServers(t)
	publish(t, s, rated("all", 1))
	for _, addr := range families {
		all.who(w.ns, rule.UDP, netip.Addr{}, netip.AddrPortFrom(addr, 7))
	}
	l := w.listen(home)
	all.tcp("it", l)
	assign(t, s, 0, rule.TCP, l)
	for range 2 {
		all.who(w.ns, rule.TCP, netip.Addr{}, netip.AddrPortFrom(anycast4, 7))
	}
	c := NewCollector(s)
	const want = `
# HELP anyport_steering_failed_assignments_total Sockets that could not be given a packet, by rule and reason.
# TYPE anyport_steering_failed_assignments_total counter
anyport_steering_failed_assignments_total{reason="empty_slot",rule="all"} 2
# HELP anyport_steering_foreign_programs Other sk_lookup programs in the network namespace.
# TYPE anyport_steering_foreign_programs gauge
anyport_steering_foreign_programs 0
# HELP anyport_steering_generation Number of the rule set in force.
# TYPE anyport_steering_generation gauge
anyport_steering_generation 1
# HELP anyport_steering_packets_total Packets that began something, by rule and by what became of them.
# TYPE anyport_steering_packets_total counter
anyport_steering_packets_total{outcome="passed",rule="(open)"} 0
anyport_steering_packets_total{outcome="passed",rule="(outside)"} 0
anyport_steering_packets_total{outcome="refused",rule="(sealed)"} 0
anyport_steering_packets_total{outcome="refused",rule="all"} 3
anyport_steering_packets_total{outcome="steered",rule="all"} 1
# HELP anyport_steering_rate_limited_total TCP connections that were refused because their source was over the rule's rate, by rule.
# TYPE anyport_steering_rate_limited_total counter
anyport_steering_rate_limited_total{rule="all"} 1
# HELP anyport_steering_samples_lost_total Samples of refused packets that found no place in the ring buffer.
# TYPE anyport_steering_samples_lost_total counter
anyport_steering_samples_lost_total 0
# HELP anyport_steering_sockets Slots that hold a socket, by service and protocol.
# TYPE anyport_steering_sockets gauge
anyport_steering_sockets{protocol="tcp",service="0"} 1
`
	err := testutil.CollectAndCompare(c, strings.NewReader(want), "anyport_steering_failed_assignments_total",
		"anyport_steering_foreign_programs", "anyport_steering_generation", "anyport_steering_packets_total",
		"anyport_steering_rate_limited_total", "anyport_steering_samples_lost_total", "anyport_steering_sockets")
	if err != nil {
		t.Error(err)
	}
	problems, err := testutil.CollectAndLint(c)
	if err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
}

// TestCollectorUnloaded scrapes where steering is not loaded any more: an error, and no metrics.
func TestCollectorUnloaded(t *testing.T) {
	w := newWorld(t)
	s, err := Load(w.opts)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Unload(); err != nil {
		t.Fatal(err)
	}
	if _, err := testutil.CollectAndLint(NewCollector(s)); err == nil {
		t.Error("metrics of nothing")
	}
}
