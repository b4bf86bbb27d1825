package bench

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// steerSuite compares ways to bring every address of a prefix to one socket: a plain bound socket, which is the limit,
// sk_lookup with tables of three sizes, a socket for each address, and TPROXY by nft and both kinds of iptables, with
// connection tracking and without.
var steerSuite = Suite{
	Name:     "steer",
	About:    "the receive path: a plain socket, sk_lookup, TPROXY",
	programs: []string{"nft", "iptables-nft", "iptables-legacy"},
	run:      runSteer,
}

func steerPlan(o Options) (Plan, []steerFamily) {
	if o.Quick {
		return Plan{Rounds: 15, Limit: 25 * time.Second, Seed: o.Seed}, steerFamilies[:1]
	}
	return Plan{Rounds: 40, Limit: 100 * time.Second, Seed: o.Seed}, steerFamilies // a limit for each
}

// runSteer does one family after the other: sockets for every address of both would be more descriptors than a process
// may have.
func runSteer(ctx context.Context, session *session) (results []WorkResult, err error) {
	plan, families := steerPlan(session.Options)
	for i := range families {
		plan.Then = time.Duration(len(families)-1-i) * plan.Limit
		s := &steerRun{session: session, family: &families[i]}
		more, err := s.run(ctx, plan)
		if err != nil {
			return nil, err
		}
		results = append(results, more...)
	}
	return results, nil
}

// steerRun is the steer suite in one family.
type steerRun struct {
	*session
	family    *steerFamily
	tracking  trackingTable
	generator *generator
	beds      []*steerBed
}

func (s *steerRun) run(ctx context.Context, plan Plan) (results []WorkResult, err error) {
	defer func() { err = errors.Join(err, s.close()) }()
	works, err := s.prepare(ctx)
	if err != nil {
		return nil, err
	}
	return Run(ctx, works, plan, s.Progress)
}

func (s *steerRun) close() error {
	var errs []error
	for _, b := range s.beds {
		errs = append(errs, b.close())
	}
	if s.generator != nil {
		errs = append(errs, s.generator.close())
	}
	return errors.Join(errs...)
}

// flowCount is how many connected flows there are; packets go round them.
const flowCount = 64

// steerTraffic is the packets that subjects get.
type steerTraffic struct {
	flows     []flow
	connected stream
	all, few  newTraffic // to all destinations, and to the first addresses
	fill      stream     // new flows enough to fill a connection tracking table; none if that is not done
}

// newTraffic is packets of new flows and connections.
type newTraffic struct{ onePort, anyPort, syns stream }

// traffic makes the packets.
func (s *steerRun) traffic() (t steerTraffic, err error) {
	const streams = 7
	if s.generator, err = newGenerator(streams*streamFrames + s.tracking.fill); err != nil {
		return t, err
	}
	t.flows = s.family.flows(flowCount, steerPort, s.rng)
	t.connected, err = s.generator.add(flowFrames(streamFrames, t.flows))
	for reach, of := range map[int]*newTraffic{destinations: &t.all, addresses: &t.few} {
		err = errors.Join(err, s.add(&of.onePort, streamFrames, reach, steerPort, udpFrame),
			s.add(&of.anyPort, streamFrames, reach, 0, udpFrame), s.add(&of.syns, streamFrames, reach, steerPort, synFrame))
	}
	if s.tracking.fill > 0 {
		err = errors.Join(err, s.add(&t.fill, s.tracking.fill, destinations, steerPort, udpFrame))
	}
	return t, err
}

func (s *steerRun) add(to *stream, n, reach int, port uint16, build frameBuilder) (err error) {
	*to, err = s.generator.add(s.family.newFlowFrames(n, reach, port, build, s.rng))
	return err
}

// prepare builds a bed for each subject and returns the works over them.
func (s *steerRun) prepare(ctx context.Context) ([]Work, error) {
	s.step("preparing %s, packets", s.family.name)
	if err := s.readTracking(); err != nil {
		return nil, err
	}
	t, err := s.traffic()
	if err != nil {
		return nil, err
	}
	w := newSteerWorks(s.family, t, s.Quick, s.rng)
	for _, subject := range steerSubjects(s.Quick) {
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		s.step("preparing %s, %s", s.family.name, subject.name)
		why := subject.missing(&s.tracking)
		if why == "" {
			b, err := s.bed(subject, t.flows)
			switch {
			case err == nil:
				w.add(subject, b)
			case subject.required():
				return nil, fmt.Errorf("prepare %s: %w", subject.name, err)
			default:
				why = err.Error()
			}
		}
		if why != "" {
			s.leaveOut(s.family.name+", "+subject.name, why)
		}
	}
	return w.list(), nil
}

// bed builds a subject's bed. One that fails is closed at once: it may hold descriptors that others need.
func (s *steerRun) bed(subject steerSubject, flows []flow) (*steerBed, error) {
	b, err := newSteerBed(s.lab, s.generator, s.family, subject.name)
	s.beds = append(s.beds, b)
	if err == nil {
		err = subject.prepare(b, flows)
	}
	if err == nil && subject.tracked != untracked {
		err = b.track(&s.tracking)
	}
	if err != nil {
		return nil, errors.Join(err, b.close())
	}
	return b, nil
}
