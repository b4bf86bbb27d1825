package main

import "github.com/prometheus/client_golang/prometheus"

// reloadCollector tells how the last attempt to put a configuration in force went.
type reloadCollector struct {
	successful, at prometheus.Gauge
}

func newReloadCollector() *reloadCollector {
	return &reloadCollector{
		successful: prometheus.NewGauge(prometheus.GaugeOpts{Name: "anyport_config_last_reload_successful",
			Help: "Whether the last configuration that was read came into force."}),
		at: prometheus.NewGauge(prometheus.GaugeOpts{Name: "anyport_config_last_reload_success_timestamp_seconds",
			Help: "When a configuration last came into force, in Unix time."}),
	}
}

// note takes the outcome of a start or a reload.
func (r *reloadCollector) note(err error) {
	if err != nil {
		r.successful.Set(0)
		return
	}
	r.successful.Set(1)
	r.at.SetToCurrentTime()
}

// Describe implements prometheus.Collector.
func (r *reloadCollector) Describe(ch chan<- *prometheus.Desc) {
	r.successful.Describe(ch)
	r.at.Describe(ch)
}

// Collect implements prometheus.Collector.
func (r *reloadCollector) Collect(ch chan<- prometheus.Metric) {
	r.successful.Collect(ch)
	r.at.Collect(ch)
}
