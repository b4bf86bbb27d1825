package main

import (
	"net/netip"
	"os"
	"slices"
	"time"

	"anyport/conf"
	"anyport/conf/rule"
	"anyport/proxy"
	"anyport/proxy/stats"
	"anyport/proxy/upstream"
)

// generation returns what is in force, or nil while the daemon starts.
func (d *daemon) generation() *proxy.Generation {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.inForce
}

func (d *daemon) setGeneration(g *proxy.Generation) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.inForce, d.loaded = g, time.Now()
}

// current returns the configuration in force, or nil while the daemon starts.
func (d *daemon) current() *conf.Config {
	if g := d.generation(); g != nil {
		return g.Config()
	}
	return nil
}

func (d *daemon) setDraining() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.draining = true
}

// status is what the daemon tells of itself on the control socket. Before the first configuration is in force it tells
// no more than who it is.
func (d *daemon) status() daemonStatus {
	d.mu.Lock()
	s := daemonStatus{Version: version, PID: os.Getpid(), Started: d.started, Loaded: d.loaded, Draining: d.draining}
	g := d.inForce
	d.mu.Unlock()
	if g == nil {
		return s
	}
	cfg := g.Config()
	s.Config = cfg.File
	s.Prefixes = d.prefixStatus(cfg)
	registry := d.server.Stats()
	for _, r := range d.server.Routes() {
		s.Routes = append(s.Routes, routeStatus{Name: r.Name, Action: actionName(r.Action), Upstreams: r.Upstreams,
			protocolTotals: totals(registry.Route(r.Name))})
	}
	s.Names = d.server.Names()
	s.Unrouted = totals(registry.Unrouted)
	s.Drops = make(map[string]uint64)
	for drop, n := range registry.SumDrops() {
		s.Drops[stats.Drop(drop).String()] = n
	}
	s.UDPSources = make(map[netip.Addr][]string)
	for a, ports := range d.server.ReplySources().All() {
		for _, r := range ports {
			s.UDPSources[a] = append(s.UDPSources[a], r.String())
		}
	}
	s.UDPTransmit = d.server.Transmit()
	s.Listeners = d.server.Listeners()
	s.AccessLogLost = d.server.AccessLogLost()
	s.Offload = d.flows.status()
	return s
}

// prefixStatus tells of each served prefix whether its packets get here.
func (d *daemon) prefixStatus(cfg *conf.Config) []prefixStatus {
	served := servedPrefixes(cfg)
	missing, err := d.local.Missing(served)
	if err != nil {
		d.logger.Warn("look for missing local routes", "error", err)
	}
	var list []prefixStatus
	for _, p := range served {
		list = append(list, prefixStatus{Prefix: p, Open: slices.Contains(cfg.OpenPrefixes, p),
			LocalRoute: err == nil && !slices.Contains(missing, p)})
	}
	return list
}

// actionName is the verdict in the words of the configuration.
func actionName(v rule.Verdict) string {
	if v == rule.Steer {
		return "proxy"
	}
	return v.String()
}

func totals(r *stats.Route) protocolTotals {
	return protocolTotals{TCP: stats.Sum(r.TCP), UDP: stats.Sum(r.UDP)}
}

// configInForce is what explain asks for; there is none while the daemon starts.
func (d *daemon) configInForce() (c daemonConfig, ok bool) {
	cfg := d.current()
	if cfg == nil {
		return c, false
	}
	c = daemonConfig{File: cfg.File, Text: string(cfg.Text), Replies: d.server.ReplySources(),
		Dial: make(map[string][]string)}
	for _, r := range d.server.Routes() {
		for _, u := range r.Upstreams {
			if u.State != upstream.Removed {
				c.Dial[r.Name] = append(c.Dial[r.Name], u.Upstream)
			}
		}
	}
	return c, true
}
