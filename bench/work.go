package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

// Sample is one measurement of one subject.
type Sample struct {
	Values []float64 // one for each figure of the work, in its unit
	Cost
	Lost   int // packets or connections that did not come through
	Errors int // answers that were wrong, and connections that failed in another way
}

// Cost is what a measurement took from the machine. A value that was not read is 0.
type Cost struct {
	Machine   float64 // CPU time of the whole machine, ns for each unit of the work
	Process   float64 // CPU time of the proxy or server that was measured, its system calls included, ns for each unit
	Generator float64 // share of the CPUs it may use that the load generator kept busy: near 1 it is the limit itself
}

// value is a Sample of a work that has one figure.
func value(v float64) Sample { return Sample{Values: []float64{v}} }

// Subject is one way of doing a work.
type Subject struct {
	Name    string
	Measure func() (Sample, error)
}

// Figure is one thing that a work measures, such as the 99th percentile of a latency in us.
type Figure struct {
	Name string
	Unit string
	More bool // more is better; else less is
}

// Work is one kind of traffic, and the subjects that are compared at it.
type Work struct {
	Name     string // such as "packets of new UDP flows"
	Per      string // the unit of Cost, such as "packet"
	Figures  []Figure
	Subjects []Subject
	// References are the names of the subjects that every other one is compared with, the first one being the limit.
	References []string
	// Control is the name of the subject that is the first reference, built a second time.
	Control string
}

// Plan says how long to measure: Rounds rounds, but none more begins when Limit has passed.
type Plan struct {
	Rounds int
	Limit  time.Duration
	Then   time.Duration // that what comes after these rounds takes, for the progress line
	Seed   uint64        // of the order and of the bootstrap
}

// leastRounds is how many rounds a bootstrap of a median needs to mean anything; Limit does not cut them.
const leastRounds = 5

// warmUp is the number of rounds that are done first and thrown away: caches, page pools and clocks settle in them.
const warmUp = 1

// Run measures the works and returns one result for each, in their order. Progress is told what is done as rounds
// begin. A measurement that fails is made once more, as a busy machine may have starved it; failing again ends the run.
// A done ctx ends it with ctx's error after the measurement under way.
func Run(ctx context.Context, works []Work, plan Plan, progress *Progress) ([]WorkResult, error) {
	rng := rand.New(rand.NewPCG(plan.Seed, 0))
	samples := make([][][]Sample, len(works)) // by work and subject
	for i := range works {
		samples[i] = make([][]Sample, len(works[i].Subjects))
	}
	start := time.Now()
	for round := range warmUp + plan.Rounds {
		if round >= warmUp+leastRounds && time.Since(start) > plan.Limit {
			break
		}
		for i := range works {
			progress.Round(round, time.Since(start), plan, works[i].Name)
			for _, j := range rng.Perm(len(works[i].Subjects)) {
				if err := ctx.Err(); err != nil {
					return nil, context.Cause(ctx)
				}
				sample, err := works[i].measure(j)
				if err != nil {
					return nil, err
				}
				if round >= warmUp {
					samples[i][j] = append(samples[i][j], sample)
				}
			}
		}
	}
	results := make([]WorkResult, len(works))
	for i := range works {
		results[i] = works[i].result(samples[i], rng)
	}
	return results, nil
}

func (w *Work) measure(subject int) (Sample, error) {
	s := &w.Subjects[subject]
	sample, err := s.Measure()
	if err != nil {
		sample, err = s.Measure()
	}
	if err == nil && len(sample.Values) != len(w.Figures) {
		err = fmt.Errorf("%d values for %d figures", len(sample.Values), len(w.Figures))
	}
	if err != nil {
		return sample, fmt.Errorf("measure %s, %s: %w", w.Name, s.Name, err)
	}
	return sample, nil
}
