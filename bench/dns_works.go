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

// dnsWorks collects the works, one for each family.
type dnsWorks struct{ works []Work }

var dnsFamilyNames = [2]string{"IPv4", "IPv6"}

func newDNSWorks(servers []dnsServer, families int) *dnsWorks {
	w := &dnsWorks{}
	for family := range families {
		w.works = append(w.works, Work{
			Name: dnsFamilyNames[family] + ": queries, closed loop", Per: "query",
			Figures:    []Figure{{Name: "time", Unit: "ns/query"}},
			References: []string{servers[0].name}, Control: servers[1].name,
		})
	}
	return w
}

// add gives every work a server. One that has the whole prefix in one family only is left out of the other's.
func (w *dnsWorks) add(s *dnsRun, b *dnsBed) {
	for family, g := range b.generators {
		if g == nil || b.server.whole[0] && !b.server.whole[family] {
			continue
		}
		work := &w.works[family]
		measure := func() (Sample, error) { return s.measure(b, g) }
		work.Subjects = append(work.Subjects, Subject{Name: b.server.name, Measure: measure})
	}
}

func (w *dnsWorks) list() []Work { return w.works }

// measure asks a server for a while. A wrong answer is an error: a server that is wrong has no speed.
func (s *dnsRun) measure(b *dnsBed, g *dnsGenerator) (sample Sample, err error) {
	runtime.GC() // now, and not in the middle of the measurement
	err = onDNSClientCPU(func() error {
		if _, err := g.run(dnsWarmUp); err != nil {
			return err
		}
		return s.clocked(b, g, &sample)
	})
	return sample, err
}

// clocked runs the generator on the calling thread between two readings of the clocks.
func (s *dnsRun) clocked(b *dnsBed, g *dnsGenerator, sample *Sample) error {
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
	n := float64(c.right)
	server, client := after.server-before.server, after.client-before.client
	*sample = value(float64(took) / n)
	sample.Cost = Cost{
		Process:   float64(server) / n,
		Machine:   float64(server+client+after.kernel-before.kernel) / n,
		Generator: float64(client) / float64(took),
	}
	sample.Lost = c.lost
	return nil
}

// dnsClocks are CPU times. Those of the server, the client and the kernel's threads are all that is spent on a query.
type dnsClocks struct{ server, client, kernel time.Duration }

func (s *dnsRun) readClocks(b *dnsBed) (c dnsClocks, err error) {
	if c.server, err = runTime(b.pids...); err != nil {
		return c, fmt.Errorf("%s: %w", b.server.name, err)
	}
	if c.kernel, err = runTime(s.ksoftirqd...); err != nil {
		return c, err
	}
	c.client = threadTime()
	return c, nil
}
