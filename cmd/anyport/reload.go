package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"anyport/conf"
	"anyport/proxy"
)

// reload reads the configuration anew and puts it in force, or says why it stays as it was.
func (d *daemon) reload(ctx context.Context) {
	started := time.Now()
	d.notify(notifyReloading)
	err := d.replaceConfig(ctx)
	d.reloads.note(err)
	if err != nil {
		d.logger.Error("reload failed; the configuration before it stays in force", "error", err)
	} else {
		d.logger.Info("reloaded", "config", d.current().File, "took", time.Since(started).Round(time.Microsecond))
	}
	if err := d.server.ReopenAccessLog(); err != nil {
		d.logger.Error("reopen the access log; it goes on in the file before", "error", err)
	}
	d.notify(notifyReady)
}

// replaceConfig exchanges the configuration in force for what the file says now. What takes time, reading and
// resolving, comes first and changes nothing.
func (d *daemon) replaceConfig(ctx context.Context) error {
	cfg, err := d.load()
	if err != nil {
		return err
	}
	old := d.generation()
	cfg = cfg.KeepServices(old.Config())
	next, err := d.server.Prepare(ctx, cfg)
	if err != nil {
		return err
	}
	names, err := d.dns.prepare(cfg)
	if err != nil {
		return err
	}
	if err := d.exchange(next); err != nil {
		err = errors.Join(err, names.abort())
		if back := d.exchange(old); back != nil {
			return errors.Join(err, fmt.Errorf("go back to the configuration before: %w", back))
		}
		return err
	}
	d.setGeneration(next)
	if err := names.commit(); err != nil {
		d.logger.Error("the rules are in force, but not all of the DNS servers' changes", "error", err)
	}
	d.warnOfRestart(old.Config(), cfg)
	d.reservePorts()
	return nil
}

// exchange puts a generation in force, or fails half-way. A prefix that goes stops being local before the program stops
// guarding it, and one that comes becomes local after.
func (d *daemon) exchange(g *proxy.Generation) error {
	served := servedPrefixes(g.Config())
	if err := d.withdrawOthers(served); err != nil {
		return err
	}
	if err := d.server.Apply(g); err != nil {
		return err
	}
	d.flows.follow(g.Config())
	return d.local.Sync(served)
}

// withdrawOthers removes the local routes of all prefixes but these, those that a daemon before this one left included,
// and adds none.
func (d *daemon) withdrawOthers(served []netip.Prefix) error {
	missing, err := d.local.Missing(served)
	if err != nil {
		return err
	}
	present := slices.DeleteFunc(slices.Clone(served), func(p netip.Prefix) bool { return slices.Contains(missing, p) })
	return d.local.Sync(present)
}

func servedPrefixes(cfg *conf.Config) []netip.Prefix {
	return slices.Concat(cfg.Prefixes, cfg.OpenPrefixes)
}

// warnOfRestart logs which changed keys a reload has not put in force.
func (d *daemon) warnOfRestart(old, fresh *conf.Config) {
	for _, key := range changedForRestart(old, fresh) {
		d.logger.Warn("a changed key takes effect after a restart only", "key", key)
	}
}

// changedForRestart returns the keys that differ and that are read once, when the daemon starts.
func changedForRestart(old, fresh *conf.Config) []string {
	var keys []string
	for _, k := range []struct {
		name    string
		changed bool
	}{
		{"metrics", old.Metrics != fresh.Metrics},
		{"workers", old.Workers != fresh.Workers},
		{"udp_workers", old.UDPWorkers != fresh.UDPWorkers},
		{"udp_transmit", old.UDPTransmit != fresh.UDPTransmit},
		{"tproxy_port", old.TproxyPort != fresh.TproxyPort},
		{"max_connections", old.MaxConnections != fresh.MaxConnections},
		{"max_connections_per_source", old.MaxPerSource != fresh.MaxPerSource},
		{"max_flows", old.MaxFlows != fresh.MaxFlows},
		{"max_flows_per_source", old.MaxFlowsPerSource != fresh.MaxFlowsPerSource},
		{"at_max_flows", old.KeepFlows != fresh.KeepFlows},
		{"udp_receive_buffer", old.UDPReceiveBuffer != fresh.UDPReceiveBuffer},
		{"source_prefix_ipv4", old.SourceBits4 != fresh.SourceBits4},
		{"source_prefix_ipv6", old.SourceBits6 != fresh.SourceBits6},
		{"access_log", old.AccessLog != fresh.AccessLog},
		{"access_log_progress", old.LogProgress != fresh.LogProgress},
	} {
		if k.changed {
			keys = append(keys, k.name)
		}
	}
	return keys
}
