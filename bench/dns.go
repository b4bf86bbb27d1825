package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"
)

// dnsSuite compares anyport's name server, steered to by sk_lookup and asked on 4,096 addresses, with others that are
// asked on one address each, their best case; and loads a zone of a million records. It needs two CPUs: one has the
// server, the other the client.
var dnsSuite = Suite{
	Name:     "dns",
	About:    "name servers: anyport on a /20, NSD, Knot, BIND, PowerDNS",
	programs: []string{"nsd", "knotd", "named", "pdns_server"},
	run:      runDNS,
}

func dnsPlan(o Options) (plan Plan, families int) {
	if o.Quick {
		return Plan{Rounds: 7, Limit: 25 * time.Second, Seed: o.Seed}, 1
	}
	return Plan{Rounds: 15, Limit: 3 * time.Minute, Seed: o.Seed}, 2
}

// dnsRun is one run of the dns suite.
type dnsRun struct {
	*session
	dir       string
	ksoftirqd []int
}

func runDNS(ctx context.Context, session *session) (results []WorkResult, err error) {
	if runtime.NumCPU() <= max(dnsClientCPU, dnsServerCPU) {
		return nil, errors.New("the dns suite needs two CPUs")
	}
	s := &dnsRun{session: session, ksoftirqd: softirqThreads()}
	if s.dir, err = os.MkdirTemp("", "anyport-bench-dns-"); err != nil {
		return nil, err
	}
	s.onClose(func() error { return os.RemoveAll(s.dir) })
	servers, err := s.servers()
	if err != nil {
		return nil, err
	}
	plan, families := dnsPlan(s.Options)
	works, err := s.prepare(ctx, servers, families)
	if err != nil {
		return nil, err
	}
	if results, err = Run(ctx, works, plan, s.Progress); err != nil || s.Quick {
		return results, err
	}
	large, err := s.large(servers)
	if err != nil {
		return nil, err
	}
	more, err := Run(ctx, large, Plan{Rounds: leastRounds, Seed: s.Seed}, s.Progress)
	return append(results, more...), err
}

// servers returns the servers that are here.
func (s *dnsRun) servers() (here []dnsServer, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	anyport, err := findAnyport()
	if err != nil {
		return nil, err
	}
	for _, server := range dnsServers(anyport, self) {
		if why := server.missing(); why != "" {
			s.leaveOut(server.name, why)
			continue
		}
		here = append(here, server)
	}
	return withReference(here), nil
}

// prepare starts the servers and returns the works over them.
func (s *dnsRun) prepare(ctx context.Context, servers []dnsServer, families int) ([]Work, error) {
	zone, err := s.writeZone(dnsOrigin, func(f *os.File) error { return writeDNSZone(f) })
	if err != nil {
		return nil, err
	}
	works := newDNSWorks(servers, families)
	for i := range servers {
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		s.step("starting %s", servers[i].name)
		b, err := newDNSBed(s.lab, &servers[i], zone)
		s.onClose(b.close)
		if err != nil {
			return nil, fmt.Errorf("prepare %s: %w", servers[i].name, err)
		}
		if err := s.ready(b, families); err != nil {
			return nil, err
		}
		works.add(s, b)
	}
	return works.list(), nil
}

// ready starts a server and opens its clients.
func (s *dnsRun) ready(b *dnsBed, families int) error {
	if err := b.start(); err != nil {
		return err
	}
	for family := range families {
		g, err := newDNSGenerator(b.client, b.inside, b.server.addresses(family), s.rng)
		if err != nil {
			return err
		}
		b.generators[family] = g
	}
	return nil
}

// writeZone writes a zone file.
func (s *dnsRun) writeZone(origin string, write func(*os.File) error) (dnsZone, error) {
	z := dnsZone{origin: origin, file: filepath.Join(s.dir, origin+"zone")}
	f, err := os.Create(z.file)
	if err != nil {
		return z, err
	}
	return z, errors.Join(write(f), f.Close())
}
