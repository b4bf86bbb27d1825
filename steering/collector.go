package steering

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

var (
	descPackets = prometheus.NewDesc("anyport_steering_packets_total",
		"Packets that began something, by rule and by what became of them.",
		[]string{"rule", "outcome"}, nil)
	descFailures = prometheus.NewDesc("anyport_steering_failed_assignments_total",
		"Sockets that could not be given a packet, by rule and reason.",
		[]string{"rule", "reason"}, nil)
	descLimited = prometheus.NewDesc("anyport_steering_rate_limited_total",
		"TCP connections that were refused because their source was over the rule's rate, by rule.",
		[]string{"rule"}, nil)
	descGeneration = prometheus.NewDesc("anyport_steering_generation",
		"Number of the rule set in force.", nil, nil)
	descPublished = prometheus.NewDesc("anyport_steering_published_timestamp_seconds",
		"When the rule set in force was published, in Unix time.", nil, nil)
	descSockets = prometheus.NewDesc("anyport_steering_sockets",
		"Slots that hold a socket, by service and protocol.", []string{"service", "protocol"}, nil)
	descForeign = prometheus.NewDesc("anyport_steering_foreign_programs",
		"Other sk_lookup programs in the network namespace.", nil, nil)
	descSamplesLost = prometheus.NewDesc("anyport_steering_samples_lost_total",
		"Samples of refused packets that found no place in the ring buffer.", nil, nil)
)

// collector reads the kernel's counters at each scrape.
type collector struct{ s *Steering }

// NewCollector returns a collector of what the kernel counts. A rule's counters that are zero are left out, but for the
// one of its verdict. The Steering must stay open as long as the collector is registered.
func NewCollector(s *Steering) prometheus.Collector { return collector{s} }

// Describe implements prometheus.Collector.
func (c collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descPackets, descFailures, descLimited, descGeneration, descPublished, descSockets, descForeign, descSamplesLost,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector. What cannot be read becomes an error of the scrape.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	for _, part := range []struct {
		desc    *prometheus.Desc
		collect func(chan<- prometheus.Metric) error
	}{
		{descPackets, c.collectCounters},
		{descGeneration, c.collectGeneration},
		{descSockets, c.collectSockets},
		{descForeign, c.collectForeign},
		{descSamplesLost, c.collectSamplesLost},
	} {
		if err := part.collect(ch); err != nil {
			ch <- prometheus.NewInvalidMetric(part.desc, err)
		}
	}
}

func (c collector) collectCounters(ch chan<- prometheus.Metric) error {
	list, err := c.s.Counters()
	if err != nil {
		return err
	}
	for i := range list {
		r := &list[i]
		for o, n := range r.Counters {
			if outcome := Outcome(o); n > 0 || outcome == verdictOutcome[r.Verdict] {
				ch <- counterMetric(r.Name, outcome, n)
			}
		}
	}
	return nil
}

// counterMetric is one counter of a rule.
func counterMetric(rule string, o Outcome, n uint64) prometheus.Metric {
	switch {
	case o == Limited:
		return prometheus.MustNewConstMetric(descLimited, prometheus.CounterValue, float64(n), rule)
	case !o.IsFinal():
		return prometheus.MustNewConstMetric(descFailures, prometheus.CounterValue, float64(n), rule, o.String())
	}
	return prometheus.MustNewConstMetric(descPackets, prometheus.CounterValue, float64(n), rule, o.String())
}

func (c collector) collectGeneration(ch chan<- prometheus.Metric) error {
	g, err := c.s.Generation()
	if err != nil {
		return err
	}
	published := float64(g.Published.UnixNano()) / 1e9
	ch <- prometheus.MustNewConstMetric(descGeneration, prometheus.GaugeValue, float64(g.Number))
	ch <- prometheus.MustNewConstMetric(descPublished, prometheus.GaugeValue, published)
	return nil
}

func (c collector) collectSockets(ch chan<- prometheus.Metric) error {
	slots, err := c.s.Slots()
	if err != nil {
		return err
	}
	for _, slot := range slots {
		ch <- prometheus.MustNewConstMetric(descSockets, prometheus.GaugeValue, 1,
			fmt.Sprint(slot.Service), slot.Protocol.String())
	}
	return nil
}

func (c collector) collectForeign(ch chan<- prometheus.Metric) error {
	list, err := c.s.ForeignPrograms()
	if err != nil {
		return err
	}
	ch <- prometheus.MustNewConstMetric(descForeign, prometheus.GaugeValue, float64(len(list)))
	return nil
}

func (c collector) collectSamplesLost(ch chan<- prometheus.Metric) error {
	lost, err := c.s.SamplesLost()
	if err != nil {
		return err
	}
	ch <- prometheus.MustNewConstMetric(descSamplesLost, prometheus.CounterValue, float64(lost))
	return nil
}
