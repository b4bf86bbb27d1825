package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

// Sample is one measurement.
type Sample struct {
	Value float64 // in the unit of the work
	Lost  int     // packets or connections that did not come through
}

// Subject is one way of doing a work.
type Subject struct {
	Name    string
	Measure func() (Sample, error)
}

// Work is one kind of traffic, and the subjects that are compared at it. Less is better.
type Work struct {
	Name     string // such as "new UDP flows"
	Unit     string // such as "ns/packet"
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
	Seed   uint64 // of the order and of the bootstrap
}

// leastRounds is how many rounds a bootstrap of a median needs to mean anything; Limit does not cut them.
const leastRounds = 5

// warmUp is the number of rounds that are done first and thrown away: caches, page pools and clocks settle in them.
const warmUp = 1

// Run measures the works and returns one result for each, in their order. Progress is told what is done as rounds
// begin. A done ctx ends it with ctx's error after the measurement under way.
func Run(ctx context.Context, works []Work, plan Plan, progress *Progress) ([]WorkResult, error) {
	rng := rand.New(rand.NewPCG(plan.Seed, 0))
	series := make([][][]Sample, len(works)) // by work and subject
	for i := range works {
		series[i] = make([][]Sample, len(works[i].Subjects))
	}
	start := time.Now()
	for round := range warmUp + plan.Rounds {
		if round >= warmUp+leastRounds && time.Since(start) > plan.Limit {
			break
		}
		for i, work := range works {
			progress.Round(round, warmUp+plan.Rounds, plan.Limit-time.Since(start), work.Name)
			for _, j := range rng.Perm(len(work.Subjects)) {
				if err := ctx.Err(); err != nil {
					return nil, context.Cause(ctx)
				}
				sample, err := work.Subjects[j].Measure()
				if err != nil {
					return nil, fmt.Errorf("measure %s, %s: %w", work.Name, work.Subjects[j].Name, err)
				}
				if round >= warmUp {
					series[i][j] = append(series[i][j], sample)
				}
			}
		}
	}
	results := make([]WorkResult, len(works))
	for i, work := range works {
		results[i] = work.result(series[i], rng)
	}
	return results, nil
}
