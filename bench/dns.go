package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"anyport/bench/netlab"
)

// DNSOptions says how much the dns suite measures.
type DNSOptions struct {
	Quick    bool // IPv4 only, without the large zone, at most a minute
	Seed     uint64
	Version  string   // of anyport, for the result
	Command  []string // that runs the suite, for the result
	Progress *Progress
}

func (o *DNSOptions) plan() (plan Plan, families int) {
	if o.Quick {
		return Plan{Rounds: 7, Limit: 40 * time.Second, Seed: o.Seed}, 1
	}
	return Plan{Rounds: 15, Limit: 4 * time.Minute, Seed: o.Seed}, 2
}

// DNS compares anyport's name server, steered to by sk_lookup and asked on 4,096 addresses, with others that are asked
// on one address each, their best case; and loads a zone of a million records. It needs root and two CPUs: one has the
// server, the other the client. A done ctx ends it with ctx's error, after clean-up.
func DNS(ctx context.Context, o DNSOptions) (result *Result, err error) {
	started := time.Now()
	if runtime.NumCPU() <= max(dnsClientCPU, dnsServerCPU) {
		return nil, errors.New("the dns suite needs two CPUs")
	}
	lab, err := netlab.Open()
	if err != nil {
		return nil, err
	}
	s := &dnsSuite{lab: lab, options: o, rng: rand.New(rand.NewPCG(o.Seed, 1)), ksoftirqd: softirqThreads()}
	defer func() {
		o.Progress.Step("dns: cleaning up")
		err = errors.Join(err, s.close(), lab.Close())
		o.Progress.Done()
	}()
	environment := Describe(o.Version, "nsd", "knotd", "named", "pdns_server")
	measured, err := s.run(ctx)
	if err != nil {
		return nil, err
	}
	return &Result{
		Schema: Schema, Suite: "dns", Command: o.Command, Started: started.UTC(), Seconds: time.Since(started).Seconds(),
		Seed: o.Seed, Environment: environment, Works: measured, LeftOut: s.leftOut,
	}, nil
}

type dnsSuite struct {
	lab       *netlab.Lab
	options   DNSOptions
	rng       *rand.Rand
	dir       string
	ksoftirqd []int
	beds      []*dnsBed
	leftOut   []LeftOut
}

func (s *dnsSuite) close() error {
	var errs []error
	for _, b := range s.beds {
		errs = append(errs, b.close())
	}
	if s.dir != "" {
		errs = append(errs, os.RemoveAll(s.dir))
	}
	return errors.Join(errs...)
}

func (s *dnsSuite) run(ctx context.Context) (results []WorkResult, err error) {
	if s.dir, err = os.MkdirTemp("", "anyport-bench-dns-"); err != nil {
		return nil, err
	}
	servers, err := s.servers()
	if err != nil {
		return nil, err
	}
	plan, families := s.options.plan()
	works, err := s.prepare(ctx, servers, families)
	if err != nil {
		return nil, err
	}
	if results, err = Run(ctx, works, plan, s.options.Progress); err != nil || s.options.Quick {
		return results, err
	}
	large, err := s.large(servers)
	if err != nil {
		return nil, err
	}
	more, err := Run(ctx, large, Plan{Rounds: leastRounds, Seed: s.options.Seed}, s.options.Progress)
	return append(results, more...), err
}

// servers returns the servers that are here.
func (s *dnsSuite) servers() (here []dnsServer, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	anyport, err := findAnyport(self)
	if err != nil {
		return nil, err
	}
	for _, server := range dnsServers(anyport, self) {
		if why := server.missing(); why != "" {
			s.leftOut = append(s.leftOut, LeftOut{Subject: server.name, Why: why})
			continue
		}
		here = append(here, server)
	}
	return withReference(here), nil
}

// findAnyport returns the path of anyport: beside this program, or from PATH.
func findAnyport(self string) (string, error) {
	beside := filepath.Join(filepath.Dir(self), "anyport")
	if _, err := os.Stat(beside); err == nil {
		return beside, nil
	}
	return exec.LookPath("anyport")
}

// prepare starts the servers and returns the works over them.
func (s *dnsSuite) prepare(ctx context.Context, servers []dnsServer, families int) ([]Work, error) {
	zone, err := s.writeZone(dnsOrigin, func(f *os.File) error { return writeDNSZone(f) })
	if err != nil {
		return nil, err
	}
	works := newDNSWorks(servers, families)
	for i := range servers {
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		s.options.Progress.Step("dns: starting %s", servers[i].name)
		b, err := newDNSBed(s.lab, &servers[i], zone)
		s.beds = append(s.beds, b)
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
func (s *dnsSuite) ready(b *dnsBed, families int) error {
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
func (s *dnsSuite) writeZone(origin string, write func(*os.File) error) (dnsZone, error) {
	z := dnsZone{origin: origin, file: filepath.Join(s.dir, origin+"zone")}
	f, err := os.Create(z.file)
	if err != nil {
		return z, err
	}
	return z, errors.Join(write(f), f.Close())
}
