package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"anyport/proxy/dns"
)

var (
	perServer = []string{"server"}

	descDNSQueries = prometheus.NewDesc("anyport_dns_queries_total",
		"Queries, by record type.", []string{"server", "type"}, nil)
	descDNSResponses = prometheus.NewDesc("anyport_dns_responses_total",
		"Responses, by response code.", []string{"server", "rcode"}, nil)
	descDNSTransports = prometheus.NewDesc("anyport_dns_messages_total",
		"Packets and TCP messages received, by transport.", []string{"server", "transport"}, nil)
	descDNSDrops = prometheus.NewDesc("anyport_dns_drops_total",
		"Packets that got no response, by reason.", []string{"server", "reason"}, nil)
	descDNSTruncated = prometheus.NewDesc("anyport_dns_truncated_total",
		"Responses sent truncated, those of the rate limit included.", perServer, nil)
	descDNSLimited = prometheus.NewDesc("anyport_dns_rate_limited_total",
		"Responses that the rate limit held back or truncated.", perServer, nil)
	descDNSTCPRefused = prometheus.NewDesc("anyport_dns_tcp_refused_total",
		"TCP connections closed because there were too many.", perServer, nil)
	descDNSTCPOpen = prometheus.NewDesc("anyport_dns_tcp_connections",
		"TCP connections that are open now.", perServer, nil)
	descDNSKernel = prometheus.NewDesc("anyport_dns_socket_drops_total",
		"Packets that the kernel dropped because the UDP socket's receive buffer was full.", perServer, nil)
	descDNSLogLost = prometheus.NewDesc("anyport_dns_query_log_lost_total",
		"Query log lines that were lost.", perServer, nil)
	descDNSZones   = prometheus.NewDesc("anyport_dns_zones", "Zones that are served.", perServer, nil)
	descDNSLatency = prometheus.NewDesc("anyport_dns_response_seconds",
		"From the moment a query's batch was read to the moment that the response was sent.", perServer, nil)
)

// Describe implements prometheus.Collector.
func (d *dnsServers) Describe(ch chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{descDNSQueries, descDNSResponses, descDNSTransports, descDNSDrops,
		descDNSTruncated, descDNSLimited, descDNSTCPRefused, descDNSTCPOpen, descDNSKernel, descDNSLogLost, descDNSZones,
		descDNSLatency} {
		ch <- desc
	}
}

// Collect implements prometheus.Collector.
func (d *dnsServers) Collect(ch chan<- prometheus.Metric) {
	for name, s := range d.all() {
		collectDNS(ch, name, s.Snapshot())
	}
}

func collectDNS(ch chan<- prometheus.Metric, server string, n dns.Snapshot) {
	for desc, counts := range map[*prometheus.Desc]map[string]uint64{descDNSQueries: n.Queries,
		descDNSResponses: n.Responses, descDNSTransports: n.Transports, descDNSDrops: n.Drops} {
		for label, count := range counts {
			ch <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(count), server, label)
		}
	}
	for desc, count := range map[*prometheus.Desc]uint64{descDNSTruncated: n.Truncated, descDNSLimited: n.Limited,
		descDNSTCPRefused: n.TCPRefused, descDNSKernel: uint64(n.Kernel), descDNSLogLost: n.LogDropped} {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(count), server)
	}
	ch <- prometheus.MustNewConstMetric(descDNSTCPOpen, prometheus.GaugeValue, float64(n.TCPOpen), server)
	ch <- prometheus.MustNewConstMetric(descDNSZones, prometheus.GaugeValue, float64(n.Zones), server)
	ch <- dnsLatency(server, n.Latency)
}

// dnsLatency makes a cumulative histogram of a snapshot's.
func dnsLatency(server string, l dns.Latency) prometheus.Metric {
	below := make(map[float64]uint64)
	var sum uint64
	for i, n := range l.Count {
		sum += n
		if i < len(l.Below)-1 { // the last one is all the rest: +Inf
			below[l.Below[i].Seconds()] = sum
		}
	}
	return prometheus.MustNewConstHistogram(descDNSLatency, sum, l.Sum.Seconds(), below, server)
}
