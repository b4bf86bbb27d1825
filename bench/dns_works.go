package bench

import (
	"fmt"
	"runtime"
	"time"
)

// dnsTime is how long one measurement asks a server, after dnsWarmUp that does not count.
const (
	dnsTime   = 500 * time.Millisecond
	dnsWarmUp = 50 * time.Millisecond
)

// dnsMeasured is one measurement, seen in the several ways that are works of their own.
type dnsMeasured struct {
	took       time.Duration // an answer
	server     time.Duration // CPU time of the server an answer
	machine    time.Duration // and of the client and of the kernel's threads
	clientBusy float64       // share of its CPU that the client took
	lost       int
}

// dnsWorks collects the works. The first of each family measures; the others, whose turn comes later in the same round,
// show the same measurement.
type dnsWorks struct{ works []Work }

var dnsFamilyNames = [2]string{"IPv4", "IPv6"}

// dnsViews are the works of one family.
var dnsViews = []struct {
	name, unit string
	value      func(dnsMeasured) float64
}{
	{"time per query, closed loop", "ns", func(m dnsMeasured) float64 { return float64(m.took) }},
	{"CPU time of the server per query", "ns", func(m dnsMeasured) float64 { return float64(m.server) }},
	{"CPU time of server, client and kernel per query", "ns", func(m dnsMeasured) float64 { return float64(m.machine) }},
	{"how busy the client is", "% of its CPU", func(m dnsMeasured) float64 { return 100 * m.clientBusy }},
}

func newDNSWorks(servers []dnsServer, families int) *dnsWorks {
	reference, control := servers[0].name, servers[1].name
	w := &dnsWorks{}
	for family := range families {
		for _, v := range dnsViews {
			w.works = append(w.works, Work{
				Name: dnsFamilyNames[family] + ": " + v.name, Unit: v.unit, References: []string{reference}, Control: control,
			})
		}
	}
	return w
}

// add gives every work a server. One that has the whole prefix in one family only is left out of the other's.
func (w *dnsWorks) add(s *dnsSuite, b *dnsBed) {
	for family, g := range b.generators {
		if g == nil || b.server.whole[0] && !b.server.whole[family] {
			continue
		}
		last := new(dnsMeasured)
		for i, v := range dnsViews {
			work := &w.works[family*len(dnsViews)+i]
			measure := func() (Sample, error) { return Sample{Value: v.value(*last), Lost: last.lost}, nil }
			if i == 0 {
				measure = func() (_ Sample, err error) {
					*last, err = s.measure(b, g)
					return Sample{Value: v.value(*last), Lost: last.lost}, err
				}
			}
			work.Subjects = append(work.Subjects, Subject{Name: b.server.name, Measure: measure})
		}
	}
}

func (w *dnsWorks) list() []Work { return w.works }

// measure asks a server for a while. A wrong answer is an error: a server that is wrong has no speed.
func (s *dnsSuite) measure(b *dnsBed, g *dnsGenerator) (m dnsMeasured, err error) {
	runtime.GC() // now, and not in the middle of the measurement
	err = onDNSClientCPU(func() error {
		if _, err := g.run(dnsWarmUp); err != nil {
			return err
		}
		return s.clocked(b, g, &m)
	})
	return m, err
}

// clocked runs the generator on the calling thread between two readings of the clocks.
func (s *dnsSuite) clocked(b *dnsBed, g *dnsGenerator, m *dnsMeasured) error {
	before, err := s.readClocks(b)
	if err != nil {
		return err
	}
	start := time.Now()
	c, err := g.run(dnsTime)
	if err != nil {
		return err
	}
	took := time.Since(start)
	after, err := s.readClocks(b)
	if err != nil {
		return err
	}
	if c.wrong > 0 || c.right == 0 {
		return fmt.Errorf("%d answers are right, %d wrong, %d lost", c.right, c.wrong, c.lost)
	}
	n := time.Duration(c.right)
	client := after.client - before.client
	*m = dnsMeasured{
		took: took / n, server: (after.server - before.server) / n,
		machine:    (after.server - before.server + client + after.kernel - before.kernel) / n,
		clientBusy: float64(client) / float64(took), lost: c.lost,
	}
	return nil
}

// dnsClocks are CPU times.
type dnsClocks struct{ server, client, kernel time.Duration }

func (s *dnsSuite) readClocks(b *dnsBed) (c dnsClocks, err error) {
	if c.server, err = runTime(b.pids...); err != nil {
		return c, fmt.Errorf("%s: %w", b.server.name, err)
	}
	if c.kernel, err = runTime(s.ksoftirqd...); err != nil {
		return c, err
	}
	c.client = threadTime()
	return c, nil
}
