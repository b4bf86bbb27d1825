package offload

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"anyport/bpf"
)

// outcomeNames are the words for what became of a packet, as metrics have them. Bpf/flows.h tells what each means.
var outcomeNames = [bpf.OffloadOutcomeOUTCOMES]string{
	bpf.OffloadOutcomeOUTCOME_IN:         "in",
	bpf.OffloadOutcomeOUTCOME_OUT:        "out",
	bpf.OffloadOutcomeOUTCOME_FRAGMENT:   "fragment",
	bpf.OffloadOutcomeOUTCOME_OPTIONS:    "ip_options",
	bpf.OffloadOutcomeOUTCOME_LENGTH:     "bad_length",
	bpf.OffloadOutcomeOUTCOME_OFF:        "off",
	bpf.OffloadOutcomeOUTCOME_IDLE:       "idle",
	bpf.OffloadOutcomeOUTCOME_TTL:        "ttl",
	bpf.OffloadOutcomeOUTCOME_TOO_BIG:    "too_big",
	bpf.OffloadOutcomeOUTCOME_NO_ROUTE:   "no_route",
	bpf.OffloadOutcomeOUTCOME_FORWARDING: "forwarding_off",
	bpf.OffloadOutcomeOUTCOME_MEMORY:     "no_memory",
}

// Outcomes returns what became of the packets that were of flows, or could have been, by the words of the metric: "in" and
// "out" were forwarded, the others were left to the sockets.
func (t *Table) Outcomes() (map[string]uint64, error) {
	counts := make(map[string]uint64)
	for outcome, name := range outcomeNames {
		var perCPU []uint64
		if err := t.maps.byName[bpf.OffloadMapOutcomes].Lookup(uint32(outcome), &perCPU); err != nil {
			return nil, fmt.Errorf("read offload counters: %w", err)
		}
		for _, n := range perCPU {
			counts[name] += n
		}
	}
	return counts, nil
}

var (
	descOn = prometheus.NewDesc("anyport_offload_on",
		"Whether the kernel forwards UDP flows by itself: 1, or 0 for a reason that anyport status tells.", nil, nil)
	descFlows = prometheus.NewDesc("anyport_offload_flows",
		"UDP flows that the kernel forwards by itself.", nil, nil)
	descOutcomes = prometheus.NewDesc("anyport_offload_packets_total",
		"Packets of such flows by what became of them: in and out were forwarded, the others were left to the "+
			"sockets. A train of datagrams that arrives as one packet counts once.", []string{"outcome"}, nil)
)

// Describe implements prometheus.Collector.
func (f *Forwarder) Describe(ch chan<- *prometheus.Desc) {
	ch <- descOn
	ch <- descFlows
	ch <- descOutcomes
}

// Collect implements prometheus.Collector.
func (f *Forwarder) Collect(ch chan<- prometheus.Metric) {
	s := f.Status()
	ch <- prometheus.MustNewConstMetric(descOn, prometheus.GaugeValue, float64(boolean(s.On)))
	ch <- prometheus.MustNewConstMetric(descFlows, prometheus.GaugeValue, float64(s.Flows))
	outcomes, err := f.table.Outcomes()
	if err != nil {
		ch <- prometheus.NewInvalidMetric(descOutcomes, err)
		return
	}
	for name, n := range outcomes {
		ch <- prometheus.MustNewConstMetric(descOutcomes, prometheus.CounterValue, float64(n), name)
	}
}
