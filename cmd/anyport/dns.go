package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"anyport/conf"
	"anyport/conf/rule"
	"anyport/proxy/dns"
	"anyport/proxy/dns/cookie"
	"anyport/proxy/dns/ratelimit"
)

// dnsServers are the DNS servers of the configuration in force.
type dnsServers struct {
	steer  steerer
	logger *slog.Logger
	run    func(func() error) // runs a server for the daemon, which ends if it fails

	mu      sync.Mutex // guards the fields below
	running map[string]*dnsServer
	homes   int // how many home addresses have been used
}

// dnsServer is a running server and what it was made from.
type dnsServer struct {
	*dns.Server
	section conf.DNS
}

func newDNSServers(steer steerer, logger *slog.Logger, run func(func() error)) *dnsServers {
	return &dnsServers{steer: steer, logger: logger, run: run, running: make(map[string]*dnsServer)}
}

// dnsChange is what a configuration changes of the servers. It takes effect in two steps around the exchange of the
// rules: prepare before, and commit after; abort takes prepare back.
type dnsChange struct {
	servers *dnsServers
	kept    []*dnsServer
	fresh   []*dnsServer          // new names, whose slots no rule in force leads to
	renewed []*dnsServer          // of a name that runs with other options
	next    map[string]*dnsServer // what runs after
}

// prepare makes the servers that cfg has and that do not run yet, and puts those of new names into their slots, so that
// the first packet that the new rules send there finds them.
func (d *dnsServers) prepare(cfg *conf.Config) (*dnsChange, error) {
	c := &dnsChange{servers: d, next: make(map[string]*dnsServer)}
	for _, section := range cfg.DNS {
		if err := c.add(section); err != nil {
			return nil, errors.Join(fmt.Errorf("DNS server %s: %w", section.Name, err), c.abort())
		}
	}
	for _, s := range c.fresh {
		if err := d.assign(s); err != nil {
			return nil, errors.Join(err, c.abort())
		}
	}
	return c, nil
}

func (c *dnsChange) add(section conf.DNS) error {
	old := c.servers.get(section.Name)
	if old != nil && sameServer(old.section, section) {
		c.kept = append(c.kept, old)
		c.next[section.Name] = old
		return nil
	}
	s, err := c.servers.open(section)
	if err != nil {
		return err
	}
	if old != nil {
		c.renewed = append(c.renewed, s)
	} else {
		c.fresh = append(c.fresh, s)
	}
	c.next[section.Name] = s
	return nil
}

// sameServer reports whether a server need not be made anew: what it matches is the rules' business alone.
func sameServer(a, b conf.DNS) bool {
	a.Line, b.Line = 0, 0
	a.Prefixes, b.Prefixes = nil, nil
	return reflect.DeepEqual(a, b)
}

func (d *dnsServers) get(name string) *dnsServer {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.running[name]
}

func (d *dnsServers) open(section conf.DNS) (*dnsServer, error) {
	server, err := dns.New(dnsOptions(section, d.home(section.Port), d.logger.With("dns", section.Name)))
	if err != nil {
		return nil, err
	}
	d.run(server.Run)
	return &dnsServer{Server: server, section: section}, nil
}

// home returns where the next server's sockets are bound: addresses of 127.53.0.0/16 in turn, so that a server and the
// one that takes its place can both have the port.
func (d *dnsServers) home(port uint16) netip.AddrPort {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.homes % 0xffff
	d.homes++
	first := dns.DefaultHome.Addr().As4()
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{first[0], first[1], byte((n + 1) >> 8), byte(n + 1)}), port)
}

func dnsOptions(s conf.DNS, home netip.AddrPort, logger *slog.Logger) dns.Options {
	o := dns.Options{Home: home, Zones: s.Zones, UDPSize: s.UDPSize, NSID: s.NSID, Version: s.Version,
		RateLimit: ratelimit.Options{PerSecond: s.RateLimit, Slip: s.Slip}, MaxTCP: s.MaxTCPConnections,
		MaxClient: s.MaxTCPPerClient,
		TCPIdle:   s.TCPIdle, LogEvery: s.QueryLog, Logger: logger}
	if s.TCPIdle == 0 {
		o.TCPIdle = -1 // dns takes 0 for its default
	}
	if s.CookieSecret != nil {
		o.Cookies = []cookie.Secret{cookie.Secret(s.CookieSecret)}
	}
	return o
}

func (d *dnsServers) assign(s *dnsServer) error {
	return errors.Join(d.steer.Assign(s.section.Service, rule.TCP, s.TCP()),
		d.steer.Assign(s.section.Service, rule.UDP, s.UDP()))
}

// commit ends what prepare began, once the new rules are in force: renewed servers take over their slots, servers that
// have no rule any more answer what they have and end, and the others read their zones again. What fails is reported,
// but nothing is taken back.
func (c *dnsChange) commit() error {
	d := c.servers
	var errs []error
	for _, s := range c.renewed {
		errs = append(errs, d.assign(s))
	}
	d.mu.Lock()
	old := d.running
	d.running = c.next
	d.mu.Unlock()
	for name, s := range old {
		if c.next[name] != s {
			d.run(func() error { d.retire(s); return nil })
		}
	}
	for _, s := range c.kept {
		errs = append(errs, s.Reload())
	}
	return errors.Join(errs...)
}

// retireTimeout is how long a server that is not steered to any more waits for its TCP connections to end.
const retireTimeout = 10 * time.Second

func (d *dnsServers) retire(s *dnsServer) {
	ctx, cancel := context.WithTimeout(context.Background(), retireTimeout)
	defer cancel()
	if err := errors.Join(s.Drain(ctx), s.Close()); err != nil {
		d.logger.Warn("end a DNS server", "dns", s.section.Name, "error", err)
	}
}

// abort closes what prepare has made. Closing a socket empties its slot.
func (c *dnsChange) abort() error {
	var errs []error
	for _, s := range slices.Concat(c.fresh, c.renewed) {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}

// all returns the running servers by name.
func (d *dnsServers) all() map[string]*dnsServer {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.running)
}

// drain has the kernel refuse new queries and waits until those that came are answered, or until ctx is done.
func (d *dnsServers) drain(ctx context.Context) error {
	var eg errgroup.Group
	for _, s := range d.all() {
		for _, p := range []rule.Protocol{rule.TCP, rule.UDP} {
			if err := d.steer.Release(s.section.Service, p); err != nil {
				d.logger.Error("refuse new DNS queries", "dns", s.section.Name, "error", err)
			}
		}
		eg.Go(func() error { return s.Drain(ctx) })
	}
	return eg.Wait()
}

// close ends all servers.
func (d *dnsServers) close() error {
	var errs []error
	for _, s := range d.all() {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}
