package bench

import (
	"context"
	"fmt"
	"time"
)

// steerSuite compares ways to bring every address of a prefix to one socket: a plain bound socket, which is the limit,
// sk_lookup with tables of three sizes, and TPROXY by nft and both kinds of iptables, with connection tracking and
// without.
var steerSuite = Suite{
	Name:     "steer",
	About:    "the receive path: a plain socket, sk_lookup, TPROXY",
	programs: []string{"nft", "iptables-nft", "iptables-legacy"},
	run:      runSteer,
}

func steerPlan(o Options) (Plan, []steerFamily) {
	if o.Quick {
		return Plan{Rounds: 15, Limit: 24 * time.Second, Seed: o.Seed}, steerFamilies[:1]
	}
	return Plan{Rounds: 40, Limit: 5 * time.Minute, Seed: o.Seed}, steerFamilies
}

func runSteer(ctx context.Context, session *session) ([]WorkResult, error) {
	plan, families := steerPlan(session.Options)
	s := &steerRun{session: session}
	if err := s.openGenerator(len(families)); err != nil {
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
	return Run(ctx, works, plan, s.Progress)
}

// steerRun is one run of the steer suite.
type steerRun struct {
	*session
	generator *generator
}

func (s *steerRun) openGenerator(families int) (err error) {
	if s.generator, err = newGenerator(families * streamsPerFamily); err == nil {
		s.onClose(s.generator.close)
	}
	return err
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

func (s *steerRun) traffic(f *steerFamily) (t steerTraffic, err error) {
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
func (s *steerRun) prepare(ctx context.Context, f *steerFamily) ([]Work, error) {
	t, err := s.traffic(f)
	if err != nil {
		return nil, err
	}
	w := newSteerWorks(f, t, s.rng)
	for _, subject := range steerSubjects() {
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		s.step("preparing %s, %s", f.name, subject.name)
		if why := subject.missing(); why != "" {
			s.leaveOut(f.name+", "+subject.name, why)
			continue
		}
		b, err := s.bed(f, subject, t.flows)
		if err != nil && subject.required() {
			return nil, fmt.Errorf("prepare %s: %w", subject.name, err)
		}
		if err != nil {
			s.leaveOut(f.name+", "+subject.name, err.Error())
			continue
		}
		w.add(subject, b)
	}
	return w.list(), nil
}

func (s *steerRun) bed(f *steerFamily, subject steerSubject, flows []flow) (*steerBed, error) {
	b, err := newSteerBed(s.lab, s.generator, f, subject.name)
	s.onClose(b.close)
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
