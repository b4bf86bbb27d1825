package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"anyport/bench/netlab"
)

// SteerOptions says how much the steer suite measures.
type SteerOptions struct {
	Quick    bool // IPv4 only, at most 40 s
	Seed     uint64
	Version  string   // of anyport, for the result
	Command  []string // that runs the suite, for the result
	Progress *Progress
}

func (o *SteerOptions) plan() (Plan, []steerFamily) {
	if o.Quick {
		return Plan{Rounds: 15, Limit: 24 * time.Second, Seed: o.Seed}, steerFamilies[:1]
	}
	return Plan{Rounds: 40, Limit: 5 * time.Minute, Seed: o.Seed}, steerFamilies
}

// Steer compares ways to bring every address of a prefix to one socket: a plain bound socket, which is the limit,
// sk_lookup with tables of three sizes, and TPROXY by nft and both kinds of iptables, with connection tracking and
// without. It needs root. A done ctx ends it with ctx's error, after clean-up.
func Steer(ctx context.Context, o SteerOptions) (result *Result, err error) {
	started := time.Now()
	lab, err := netlab.Open()
	if err != nil {
		return nil, err
	}
	s := &steerSuite{lab: lab, options: o, rng: rand.New(rand.NewPCG(o.Seed, 1))}
	defer func() {
		o.Progress.Step("steer: cleaning up")
		err = errors.Join(err, s.close(), lab.Close())
		o.Progress.Done()
	}()
	plan, families := o.plan()
	if s.generator, err = newGenerator(len(families) * streamsPerFamily); err != nil {
		return nil, err
	}
	var works []Work
	for i := range families {
		added, err := s.prepare(ctx, &families[i])
		if err != nil {
			return nil, err
		}
		works = append(works, added...)
	}
	environment := Describe(o.Version, "nft", "iptables-nft", "iptables-legacy")
	measured, err := Run(ctx, works, plan, o.Progress)
	if err != nil {
		return nil, err
	}
	return &Result{
		Schema: Schema, Suite: "steer", Command: o.Command, Started: started.UTC(), Seconds: time.Since(started).Seconds(),
		Seed: o.Seed, Environment: environment, Works: measured, LeftOut: s.leftOut,
	}, nil
}

type steerSuite struct {
	lab       *netlab.Lab
	options   SteerOptions
	rng       *rand.Rand
	generator *generator
	beds      []*steerBed
	leftOut   []LeftOut
}

func (s *steerSuite) close() error {
	var errs []error
	for _, b := range s.beds {
		errs = append(errs, b.close())
	}
	if s.generator != nil {
		s.generator.close()
	}
	return errors.Join(errs...)
}

// The works of the suite.
const (
	newFlowsOnePort = "packets of new UDP flows, one port"
	newFlowsAnyPort = "packets of new UDP flows, random ports"
	connectedFlows  = "packets of connected UDP flows"
	tcpConnections  = "TCP connect, accept, close"
)

// flowCount is how many connected flows there are; packets go round them.
const flowCount = 256

// steerTraffic is what all subjects of a family get.
type steerTraffic struct {
	flows                       []flow
	onePort, anyPort, connected stream
}

// streamsPerFamily is how many streams traffic makes.
const streamsPerFamily = 3

func (s *steerSuite) traffic(f *steerFamily) (t steerTraffic, err error) {
	t.flows = f.flows(flowCount, steerPort, s.rng)
	if t.onePort, err = s.generator.add(f.newFlowFrames(streamFrames, steerPort, s.rng)); err != nil {
		return t, err
	}
	if t.anyPort, err = s.generator.add(f.newFlowFrames(streamFrames, 0, s.rng)); err != nil {
		return t, err
	}
	t.connected, err = s.generator.add(flowFrames(streamFrames, t.flows))
	return t, err
}

// prepare builds a bed for each subject of a family and returns the works over them.
func (s *steerSuite) prepare(ctx context.Context, f *steerFamily) ([]Work, error) {
	t, err := s.traffic(f)
	if err != nil {
		return nil, err
	}
	w := newSteerWorks(f, t, s.rng)
	for _, subject := range steerSubjects() {
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		s.options.Progress.Step("steer: preparing %s, %s", f.name, subject.name)
		if why := subject.missing(); why != "" {
			s.leaveOut(f, subject, why)
			continue
		}
		b, err := s.bed(f, subject, t.flows)
		if err != nil && subject.required() {
			return nil, fmt.Errorf("prepare %s: %w", subject.name, err)
		}
		if err != nil {
			s.leaveOut(f, subject, err.Error())
			continue
		}
		w.add(subject, b)
	}
	return w.list(), nil
}

func (s *steerSuite) leaveOut(f *steerFamily, subject steerSubject, why string) {
	s.leftOut = append(s.leftOut, LeftOut{Subject: f.name + ", " + subject.name, Why: why})
}

func (s *steerSuite) bed(f *steerFamily, subject steerSubject, flows []flow) (*steerBed, error) {
	b, err := newSteerBed(s.lab, s.generator, f, subject.name)
	s.beds = append(s.beds, b)
	if err != nil {
		return nil, err
	}
	if err := subject.prepare(b, flows); err != nil {
		return nil, err
	}
	if subject.conntrack {
		return b, b.enableConntrack()
	}
	return b, nil
}
