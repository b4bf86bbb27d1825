package stats

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

// Collector exposes a registry and an access log to Prometheus. It reads the shards when it is scraped; the data
// planes never touch it.
type Collector struct {
	Registry  *Registry
	AccessLog *AccessLog // nil: none
	// KernelDrops, if set, returns the datagrams that the kernel dropped because a UDP socket's receive buffer was
	// full, for the clients' and the replies' socket.
	KernelDrops func() (clients, replies uint64)
}

var (
	perRoute = []string{"protocol", "route"}

	descOpened = prometheus.NewDesc("anyport_connections_total",
		"TCP connections and UDP flows that began, refused ones included.", perRoute, nil)
	descActive = prometheus.NewDesc("anyport_connections_active",
		"TCP connections and UDP flows that are open now.", perRoute, nil)
	descEnded = prometheus.NewDesc("anyport_connections_ended_total",
		"TCP connections and UDP flows that ended, by reason.", append(slices.Clone(perRoute), "reason"), nil)
	descBytes = prometheus.NewDesc("anyport_payload_bytes_total",
		"Payload bytes received from (in) and sent to (out) clients.", append(slices.Clone(perRoute), "direction"), nil)
	descPackets = prometheus.NewDesc("anyport_udp_datagrams_total",
		"Datagrams received from (in) and sent to (out) clients.", []string{"route", "direction"}, nil)
	descCut = prometheus.NewDesc("anyport_udp_datagrams_cut_total",
		"Datagrams to clients that were longer than max_datagram.", []string{"route"}, nil)
	descDrops = prometheus.NewDesc("anyport_udp_drops_total",
		"Datagrams that were not forwarded, by reason.", []string{"reason"}, nil)
	descICMP = prometheus.NewDesc("anyport_udp_icmp_errors_total",
		"ICMP errors about datagrams to upstreams and, if too big, to clients, by what they led to.", []string{"outcome"}, nil)
	descKernelDrops = prometheus.NewDesc("anyport_udp_socket_drops_total",
		"Datagrams that the kernel dropped because a UDP socket's receive buffer was full.", []string{"socket"}, nil)
	descLost = prometheus.NewDesc("anyport_access_log_lost_total",
		"Access log lines that found the queue full or could not be written.", nil, nil)
)

// Describe implements prometheus.Collector.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descOpened, descActive, descEnded, descBytes, descPackets, descCut,
		descDrops, descICMP, descKernelDrops, descLost} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	for _, r := range c.Registry.Routes() {
		collectProtocol(ch, "tcp", r.Name, Sum(r.TCP))
		udp := Sum(r.UDP)
		collectProtocol(ch, "udp", r.Name, udp)
		counter(ch, descPackets, udp.PacketsIn, r.Name, "in")
		counter(ch, descPackets, udp.PacketsOut, r.Name, "out")
		counter(ch, descCut, udp.PacketsCut, r.Name)
	}
	for d, n := range c.Registry.SumDrops() {
		counter(ch, descDrops, n, Drop(d).String())
	}
	for what, n := range c.Registry.SumICMP() {
		counter(ch, descICMP, n, ICMP(what).String())
	}
	if c.KernelDrops != nil {
		clients, replies := c.KernelDrops()
		counter(ch, descKernelDrops, clients, "clients")
		counter(ch, descKernelDrops, replies, "replies")
	}
	counter(ch, descLost, c.AccessLog.Lost())
}

func collectProtocol(ch chan<- prometheus.Metric, protocol, route string, t Totals) {
	counter(ch, descOpened, t.Opened, protocol, route)
	ch <- prometheus.MustNewConstMetric(descActive, prometheus.GaugeValue, float64(t.Active), protocol, route)
	for reason, n := range t.Ended {
		counter(ch, descEnded, n, protocol, route, reason)
	}
	counter(ch, descBytes, t.BytesIn, protocol, route, "in")
	counter(ch, descBytes, t.BytesOut, protocol, route, "out")
}

func counter(ch chan<- prometheus.Metric, d *prometheus.Desc, n uint64, labels ...string) {
	ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
}
