package main

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metricsServer serves /metrics, /healthz (the process is alive) and /readyz (it takes new connections). A nil
// metricsServer does nothing.
type metricsServer struct {
	web      *webServer
	registry *prometheus.Registry
	ready    atomic.Bool
	check    func() error // what else it takes to be ready
}

// listenMetrics serves on addr until close.
func listenMetrics(addr netip.AddrPort, logger *slog.Logger) (*metricsServer, error) {
	l, err := net.Listen("tcp", addr.String())
	if err != nil {
		return nil, hintError{fmt.Errorf("open the metrics listener: %w", err),
			"set metrics to another address, or to \"none\""}
	}
	m := &metricsServer{registry: prometheus.NewRegistry(), check: func() error { return nil }}
	m.registry.MustRegister(collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", m.answerReady)
	m.web = serveWeb(l, mux, logger)
	return m, nil
}

// collect adds sources to what /metrics shows.
func (m *metricsServer) collect(sources ...prometheus.Collector) {
	if m != nil {
		m.registry.MustRegister(sources...)
	}
}

// readyOnlyIf makes readiness depend on check, too. It must be called before setReady.
func (m *metricsServer) readyOnlyIf(check func() error) {
	if m != nil {
		m.check = check
	}
}

func (m *metricsServer) answerReady(w http.ResponseWriter, _ *http.Request) {
	if !m.ready.Load() {
		http.Error(w, "not ready: starting or draining", http.StatusServiceUnavailable)
		return
	}
	if err := m.check(); err != nil {
		http.Error(w, "not ready: "+err.Error(), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ready")
}

func (m *metricsServer) setReady(ready bool) {
	if m != nil {
		m.ready.Store(ready)
	}
}

func (m *metricsServer) close() {
	if m != nil {
		m.web.close()
	}
}
