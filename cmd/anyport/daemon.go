package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"anyport/conf"
	"anyport/conf/rule"
	"anyport/proxy"
	"anyport/steering"
)

// daemon is a running anyport: the steering program, the proxy and what surrounds them. The order in which its parts
// start and stop lets no packet reach a socket that was not meant to have it: the kernel refuses before the proxy
// takes, and a prefix is local only while the program guards it.
type daemon struct {
	opts     runOptions
	logger   *slog.Logger
	started  time.Time
	demo     *demoUpstream // with the embedded default only
	steer    steerer
	held     io.Closer // keeps the program in effect while the daemon lives
	local    *steering.LocalRoutes
	returns  *steering.ReturnPaths
	server   *proxy.Server
	dns      *dnsServers
	flows    *kernelFlows
	reloads  *reloadCollector
	metrics  *metricsServer
	control  *webServer
	reserved *reservedPorts

	mu       sync.Mutex // guards the fields below
	inForce  *proxy.Generation
	loaded   time.Time // when inForce was
	draining bool
}

func newDaemon(opts runOptions, logger *slog.Logger) *daemon {
	return &daemon{opts: opts, logger: logger, started: time.Now(), reloads: newReloadCollector()}
}

// run serves until a signal ends it: SIGHUP reloads, SIGTERM and SIGINT drain, a second one of these stops at once.
// When one of the daemon's parts fails, run ends with its error.
func (d *daemon) run(signals <-chan os.Signal) error {
	cfg, err := d.open()
	if err != nil {
		return errors.Join(err, d.close())
	}
	ctx, cancel := context.WithCancel(context.Background())
	parts, ctx := errgroup.WithContext(ctx)
	orders, follow := takeOrders(ctx, signals)
	parts.Go(follow)
	d.dns = newDNSServers(d.steer, d.logger, parts.Go)
	d.flows = newKernelFlows(d.opts.bpffs, cfg.MaxFlows, d.server, d.logger,
		func(run func(context.Context) error) { parts.Go(func() error { return run(ctx) }) })
	d.metrics.collect(d.server.Collector(), d.dns, d.flows, d.reloads)
	d.metrics.collect(d.server.UpstreamCollectors()...)
	if s, ok := d.steer.(*steering.Steering); ok {
		d.metrics.collect(steering.NewCollector(s))
	}
	d.metrics.readyOnlyIf(d.isLoaded)
	d.runParts(ctx, parts)
	err = d.start(orders.drain, cfg)
	switch cause := context.Cause(orders.drain); {
	case err == nil:
		d.serve(orders)
	case cause != nil && errors.Is(err, cause):
		err = nil // a signal that came early, or the failure of a part, which Wait will tell
	}
	cancel()
	err = errors.Join(err, d.dns.close(), parts.Wait(), d.close())
	if err == nil {
		d.logger.Info("stopped")
	}
	return err
}

// runParts starts what runs beside the main goroutine, until ctx ends; when one part fails, ctx does.
func (d *daemon) runParts(ctx context.Context, parts *errgroup.Group) {
	parts.Go(func() error { return d.server.Run(ctx) })
	parts.Go(func() error { return d.local.Watch(ctx, d.logRouteEvent) })
	parts.Go(func() error { return d.returns.Watch(ctx, d.logReturnEvent) })
	if d.demo != nil {
		parts.Go(func() error { return d.demo.run(ctx, d.logger) })
	}
}

// open reads the configuration and opens everything that can fail, without yet changing what happens to a packet.
func (d *daemon) open() (cfg *conf.Config, err error) {
	if d.opts.file == "" {
		if d.demo, err = listenDemo(); err != nil {
			return nil, err
		}
	}
	if cfg, err = d.load(); err != nil {
		return nil, err
	}
	if cfg.TproxyPort == 0 {
		if err := steering.Probe(); err != nil {
			return nil, err
		}
	}
	if err := raiseDescriptorLimit(); err != nil {
		return nil, err
	}
	if d.control, err = listenControl(d); err != nil {
		return nil, err
	}
	if d.reserved, err = openReservedPorts(); err != nil {
		return nil, err
	}
	if d.local, err = steering.OpenLocalRoutes(steering.LocalRouteOptions{}); err != nil {
		return nil, err
	}
	if d.returns, err = steering.OpenReturnPaths(""); err != nil {
		return nil, err
	}
	return cfg, d.openServer(cfg)
}

// openServer opens the proxy, and the program last: a start that fails before leaves the one of a daemon that was
// killed in place, which refuses what nobody serves.
func (d *daemon) openServer(cfg *conf.Config) (err error) {
	d.server, err = proxy.New(cfg, proxy.Options{Publish: d.publish, Assign: d.assign, BringReplies: d.bringReplies,
		Lookup: d.opts.resolver.Lookup, Logger: d.logger})
	if err != nil {
		return err
	}
	if cfg.Metrics.IsValid() {
		if d.metrics, err = listenMetrics(cfg.Metrics, d.logger); err != nil {
			return err
		}
	}
	d.steer, err = openSteerer(cfg.TproxyPort, d.opts.bpffs, conf.MaxRules+roomForReplies)
	if err != nil {
		return err
	}
	d.held, err = d.steer.Hold()
	return err
}

// isLoaded returns an error if somebody has removed the program, or its pins, without which no configuration can be
// loaded any more.
func (d *daemon) isLoaded() error {
	_, err := d.steer.Generation()
	return err
}

// roomForReplies is the rules for the replies of UDP upstreams, two for each NAT address, that fit beside those of a
// configuration.
const roomForReplies = 1024

// close takes everything down that open has opened, in the order that exposes nothing. The parts have ended.
func (d *daemon) close() error {
	d.metrics.close()
	d.control.close()
	var errs []error
	if d.flows != nil {
		errs = append(errs, d.flows.close())
	}
	if d.steer != nil {
		errs = append(errs, d.closeSteering())
		if d.held != nil {
			errs = append(errs, d.held.Close())
		}
		errs = append(errs, d.steer.Close())
	}
	if d.local != nil {
		errs = append(errs, d.local.Close())
	}
	if d.returns != nil {
		errs = append(errs, d.returns.Remove(), d.returns.Close())
	}
	if d.server != nil {
		errs = append(errs, d.server.Close())
	}
	if d.reserved != nil {
		errs = append(errs, d.reserved.set(nil))
	}
	if d.demo != nil {
		d.demo.close()
	}
	return errors.Join(errs...)
}

// closeSteering takes the prefixes away from this host, then the program: while an address is local and unguarded, any
// daemon bound to the wildcard would answer on it.
func (d *daemon) closeSteering() error {
	if d.opts.keepRoutes {
		return nil
	}
	if err := d.local.Remove(); err != nil {
		return fmt.Errorf("the program stays, to guard what is left: %w", err)
	}
	if err := d.steer.Unload(); !errors.Is(err, steering.ErrNotLoaded) {
		return err
	}
	return nil // somebody else has unloaded it
}

// load reads the configuration file, or makes the embedded default, and logs what it warns of.
func (d *daemon) load() (*conf.Config, error) {
	if d.demo != nil {
		v6 := ipv6Enabled()
		if !v6 {
			d.logger.Warn("IPv6 is off on this host: the demo serves IPv4 only")
		}
		return conf.Demo(d.demo.addr(), v6)
	}
	host, err := hostFacts()
	if err != nil {
		return nil, err
	}
	cfg, err := conf.Load(d.opts.file, host)
	if err != nil {
		return nil, err
	}
	for _, w := range cfg.Warnings {
		d.logger.Warn(w.Error())
	}
	return cfg, nil
}

// publish brings a table into the kernel, or changes nothing and returns an error.
func (d *daemon) publish(table *rule.Table) error {
	started := time.Now()
	g, err := d.steer.Publish(table)
	if err != nil && g.Number == 0 {
		return err
	}
	if err != nil {
		d.logger.Warn("the rules are in force, but what was before them is not cleared away", "error", err)
	}
	d.logger.Info("rules published", "generation", g.Number, "rules", len(table.Set().Rules),
		"took", time.Since(started).Round(time.Microsecond))
	return nil
}

// bringReplies makes exactly these the return paths.
func (d *daemon) bringReplies(paths []proxy.ReturnPath) error {
	list := make([]steering.ReturnPath, len(paths))
	for i, p := range paths {
		list[i] = steering.ReturnPath(p)
	}
	return d.returns.Sync(list)
}

func (d *daemon) logReturnEvent(e steering.ReturnEvent) {
	if e.Err != nil {
		d.logger.Error("put return paths back", "error", e.Err)
	}
	if len(e.Restored) > 0 {
		d.logger.Warn("put return paths back that something had removed", "paths", e.Restored)
	}
}

func (d *daemon) logRouteEvent(e steering.RouteEvent) {
	if e.Err != nil {
		d.logger.Error("put local routes back", "error", e.Err)
	}
	if len(e.Restored) > 0 {
		d.logger.Warn("put local routes back that something had removed", "prefixes", e.Restored)
	}
}
