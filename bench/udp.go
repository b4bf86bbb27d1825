package bench

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"
)

// udpSuite compares ways to forward UDP flows, on the two CPUs that client, proxy and upstream share.
var udpSuite = Suite{
	Name:     "udp",
	About:    "UDP proxies: anyport, nginx, goroutine pairs, bare sockets, kernel DNAT, and a plain router",
	programs: []string{"nginx", "nft"},
	run:      runUDP,
}

func udpPlan(o Options) (plan Plan, each time.Duration, families []proxyFamily) {
	if o.Quick {
		return Plan{Rounds: leastRounds, Seed: o.Seed}, 30 * time.Millisecond, proxyFamilies[:1]
	}
	return Plan{Rounds: 15, Limit: 4 * time.Minute, Seed: o.Seed}, 200 * time.Millisecond, proxyFamilies
}

func runUDP(ctx context.Context, s *session) ([]WorkResult, error) {
	if runtime.NumCPU() < proxyThreads {
		return nil, fmt.Errorf("the udp suite needs %d CPUs", proxyThreads)
	}
	programs, err := findProxyPrograms()
	if err != nil {
		return nil, err
	}
	plan, each, families := udpPlan(s.Options)
	beds, err := s.udpBeds(ctx, programs, manyCount)
	if err != nil {
		return nil, err
	}
	var works []Work
	for _, f := range families {
		works = append(works, udpWorks(beds, f, each)...)
	}
	results, err := Run(ctx, works, plan, s.Progress)
	if err != nil || s.Quick {
		return results, err
	}
	memory, err := Run(ctx, udpMemory(beds, families[0]), Plan{Rounds: leastRounds, Seed: s.Seed}, s.Progress)
	return append(results, memory...), err
}

// udpBeds starts the subjects that are here.
func (s *session) udpBeds(ctx context.Context, programs proxyPrograms, many int) ([]*proxyBed, error) {
	line := proxyLine{self: programs.self, upstream: udpUpstream, ready: (*proxyBed).readyUDP, many: many}
	subjects := udpSubjects(programs)
	for i := range subjects {
		prepare := subjects[i].prepare
		subjects[i].prepare = func(b *proxyBed) error { return errors.Join(prepare(b), b.routeClients()) }
	}
	return s.proxyBeds(ctx, subjects, line)
}
