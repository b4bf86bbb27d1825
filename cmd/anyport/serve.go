package main

import (
	"context"
	"errors"
	"syscall"

	"golang.org/x/sync/errgroup"

	"anyport/conf"
	"anyport/conf/rule"
	"anyport/proxy"
)

// start begins to serve: rules first, then sockets, then local routes, so that the first packet to a new prefix finds
// everything in place. When ctx is done while it waits for DNS, it returns the cause.
func (d *daemon) start(ctx context.Context, cfg *conf.Config) error {
	first, err := d.server.Prepare(ctx, cfg)
	if err != nil {
		return err
	}
	names, err := d.dns.prepare(cfg)
	if err != nil {
		return err
	}
	if err := d.begin(first); err != nil {
		return errors.Join(err, names.abort())
	}
	if err := names.commit(); err != nil {
		return err
	}
	d.setGeneration(first)
	d.reloads.note(nil)
	d.warnOfForeign()
	d.reservePorts()
	d.metrics.setReady(true)
	d.logger.Info("ready", "config", cfg.File, "prefixes", servedPrefixes(cfg))
	if d.demo != nil {
		printBanner(ipv6Enabled())
	}
	d.notify(notifyReady)
	return nil
}

// begin puts the first generation in force.
func (d *daemon) begin(g *proxy.Generation) error {
	served := servedPrefixes(g.Config())
	if err := d.withdrawOthers(served); err != nil {
		return err
	}
	if err := d.returns.Remove(); err != nil { // those that a daemon before this one left
		return err
	}
	if err := d.server.Apply(g); err != nil {
		return err
	}
	d.flows.follow(g.Config()) // before new flows come, which could take the ports of those that are left
	if err := d.assignSockets(); err != nil {
		return err
	}
	return d.local.Sync(served)
}

// warnOfForeign logs other programs that have a say in who gets a packet.
func (d *daemon) warnOfForeign() {
	foreign, err := d.steer.ForeignPrograms()
	if err != nil {
		d.logger.Warn("look for foreign sk_lookup programs", "error", err)
	}
	for _, f := range foreign {
		d.logger.Warn("another sk_lookup program is attached", "name", f.Name, "id", f.ProgramID, "before_ours", f.Before)
	}
}

func (d *daemon) assignSockets() error {
	listener, clients, replies := d.server.Sockets()
	if err := d.assign(conf.ServiceProxy, listener, clients); err != nil {
		return err
	}
	for worker, socket := range replies {
		if err := d.steer.Assign(conf.RepliesService(worker), rule.UDP, socket); err != nil {
			return err
		}
	}
	return nil
}

// assign puts the sockets of a service into its slots.
func (d *daemon) assign(service uint16, listener, clients syscall.Conn) error {
	return errors.Join(d.steer.Assign(service, rule.TCP, listener), d.steer.Assign(service, rule.UDP, clients))
}

// serve obeys orders until one, or the failure of a part, ends the service; then it drains.
func (d *daemon) serve(o *orders) {
	for {
		select {
		case <-o.drain.Done():
			if o.stop.Err() == nil {
				d.drain(o.stop)
			}
			return
		case <-o.reload:
			d.reload(o.drain)
		}
	}
}

// drain refuses new connections in the kernel and waits for the open ones, for at most drain_timeout and until ctx is
// done.
func (d *daemon) drain(ctx context.Context) {
	d.notify(notifyStopping)
	d.metrics.setReady(false)
	d.setDraining()
	timeout := d.current().DrainTimeout
	d.logger.Info("draining; a second signal stops at once", "timeout", timeout)
	if err := d.refuseConnections(); err != nil {
		d.logger.Error("refuse new connections", "error", err)
	}
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	var eg errgroup.Group
	eg.Go(func() error { return d.server.Drain(ctx) })
	eg.Go(func() error { return d.dns.drain(ctx) })
	if err := eg.Wait(); err != nil {
		d.logger.Warn("connections were cut off", "error", err)
	}
}

// refuseConnections has the kernel refuse TCP connections to the proxy.
func (d *daemon) refuseConnections() error {
	err := d.steer.Release(conf.ServiceProxy, rule.TCP)
	for _, l := range d.server.Listeners() {
		err = errors.Join(err, d.steer.Release(l.Service, rule.TCP))
	}
	return err
}

// notify tells the service manager, if it asked to be told.
func (d *daemon) notify(state string) {
	if err := sendNotify(state); err != nil {
		d.logger.Warn("notify the service manager", "error", err)
	}
}
