package main

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"anyport/conf"
	"anyport/proxy"
	"anyport/proxy/offload"
	"anyport/steering"
)

// kernelFlows is the UDP flows that the kernel forwards by itself, once a configuration has a route that wants it.
type kernelFlows struct {
	bpffs    string
	maxFlows int
	server   *proxy.Server
	logger   *slog.Logger
	part     func(func(context.Context) error) // starts a part of the daemon

	mu        sync.Mutex // guards the fields below
	forwarder *offload.Forwarder
	failed    error // why there is no forwarder although one is wanted
}

// newKernelFlows returns flows that wait for a configuration; part starts what runs beside the main goroutine.
func newKernelFlows(bpffs string, maxFlows int, server *proxy.Server, logger *slog.Logger,
	part func(func(context.Context) error)) *kernelFlows {
	return &kernelFlows{bpffs: bpffs, maxFlows: maxFlows, server: server, logger: logger, part: part}
}

// offloadDir is where the maps and links are pinned: beside steering's pins, so that what clears those away takes ours
// along.
func offloadDir(bpffs string) (string, error) {
	dir, err := steering.Directory(steering.Options{Bpffs: bpffs})
	return filepath.Join(dir, "offload"), err
}

// follow brings offload in line with a configuration that is in force. What a daemon that was killed has left is taken
// over the first time, or else removed. Where it fails, flows go through the sockets, and status tells why.
func (k *kernelFlows) follow(cfg *conf.Config) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.forwarder != nil {
		k.forwarder.Table().NextGeneration()
		return
	}
	if k.failed = k.open(cfg); k.failed != nil {
		k.logger.Error("have the kernel forward UDP flows; they go through the sockets", "error", k.failed)
	}
}

func (k *kernelFlows) open(cfg *conf.Config) error {
	dir, err := offloadDir(k.bpffs)
	if err != nil {
		return err
	}
	if !wantsOffload(cfg) {
		return offload.Unload(dir)
	}
	f, err := offload.Open(offload.Options{Dir: dir, MaxFlows: k.maxFlows, Logger: k.logger})
	if err != nil {
		return err
	}
	k.forwarder = f
	if kept, refused := k.server.OffloadTo(f.Table()); kept+refused > 0 {
		k.logger.Info("took over UDP flows that the kernel has gone on forwarding", "flows", kept, "ended", refused)
	}
	k.part(f.Run)
	return nil
}

func wantsOffload(cfg *conf.Config) bool {
	for _, r := range cfg.Routes {
		if r.Offload {
			return true
		}
	}
	return false
}

// close ends the forwarding. The parts have ended, and with the server every flow.
func (k *kernelFlows) close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.forwarder == nil {
		return nil
	}
	defer func() { k.forwarder = nil }()
	return k.forwarder.Unload()
}

// Describe implements prometheus.Collector.
func (k *kernelFlows) Describe(ch chan<- *prometheus.Desc) { new(offload.Forwarder).Describe(ch) }

// Collect implements prometheus.Collector. Without a route that wants offload there is nothing to tell.
func (k *kernelFlows) Collect(ch chan<- prometheus.Metric) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.forwarder != nil {
		k.forwarder.Collect(ch)
	}
}

// offloadLine is what status prints.
func offloadLine(s *offload.Status) string {
	if !s.On {
		return "offload: off: " + s.Why
	}
	line := fmt.Sprintf("offload: on, %d of at most %d flows, on %d devices", s.Flows, s.Capacity, s.Devices)
	if s.Missing != "" {
		line += ", but not on: " + s.Missing
	}
	return line
}

// status returns nil where no route has wanted offload.
func (k *kernelFlows) status() *offload.Status {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.forwarder != nil:
		s := k.forwarder.Status()
		return &s
	case k.failed != nil:
		return &offload.Status{Why: k.failed.Error()}
	}
	return nil
}
