package upstream

import "github.com/prometheus/client_golang/prometheus"

var (
	perUpstream = []string{"route", "upstream"}

	descUp = prometheus.NewDesc("anyport_upstream_up",
		"Whether the upstream takes connections: 0 while it is out.", perUpstream, nil)
	descActive = prometheus.NewDesc("anyport_upstream_connections_active",
		"TCP connections and UDP flows of the upstream that are open or connecting.", perUpstream, nil)
	descFailures = prometheus.NewDesc("anyport_upstream_connect_failures_total",
		"Connects to the upstream that failed.", perUpstream, nil)
	descEjections = prometheus.NewDesc("anyport_upstream_ejections_total",
		"How often the upstream was ejected because connects failed.", perUpstream, nil)
)

var descNameFailures = prometheus.NewDesc("anyport_upstream_name_failures",
	"Look-ups of an upstream's DNS name that have failed since it last resolved.", []string{"name"}, nil)

// Describe implements prometheus.Collector.
func (n *Names) Describe(ch chan<- *prometheus.Desc) { ch <- descNameFailures }

// Collect implements prometheus.Collector: it tells of the names in force.
func (n *Names) Collect(ch chan<- prometheus.Metric) {
	for _, i := range n.Info() {
		ch <- prometheus.MustNewConstMetric(descNameFailures, prometheus.GaugeValue, float64(i.Failures), i.Name)
	}
}

// Describe implements prometheus.Collector.
func (p *Pool) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descUp, descActive, descFailures, descEjections} {
		ch <- d
	}
}

// Collect implements prometheus.Collector: it tells of the endpoints in force.
func (p *Pool) Collect(ch chan<- prometheus.Metric) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.rosters {
		r.collect(ch)
	}
}

func (r *roster) collect(ch chan<- prometheus.Metric) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.members {
		value := func(d *prometheus.Desc, kind prometheus.ValueType, n float64) {
			ch <- prometheus.MustNewConstMetric(d, kind, n, r.route, m.key.String())
		}
		value(descUp, prometheus.GaugeValue, min(float64(m.share.Load()), 1))
		value(descActive, prometheus.GaugeValue, float64(m.Active()))
		value(descFailures, prometheus.CounterValue, float64(m.failures.Load()))
		value(descEjections, prometheus.CounterValue, float64(m.ejections))
	}
}
