package bench

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"time"
)

// tcpSuite compares ways to forward TCP connections. Client, proxy and upstream share two CPUs, so that a work's speed
// is what all three cost together, and the plain router, which leaves the proxy out, is the limit.
var tcpSuite = Suite{
	Name:     "tcp",
	About:    "TCP proxies: anyport, HAProxy, nginx, io.Copy, and a plain router",
	programs: []string{"haproxy", "nginx", "iptables-nft"},
	run:      runTCP,
}

// tcpTime is how long each measurement of the suite takes. A longer one is hardly more exact: what makes them differ is
// which of the workers the connections come to, and moments in which the machine is slow.
const tcpTime = 50 * time.Millisecond

// tcpPlan says how long a run measures, what, and in how many families.
func tcpPlan(o Options) (plan Plan, works []proxyWork, families []proxyFamily) {
	if o.Quick {
		return Plan{Rounds: leastRounds, Seed: o.Seed}, quickWorks(tcpTraffic), proxyFamilies[:1]
	}
	return Plan{Rounds: 15, Limit: 4 * time.Minute, Seed: o.Seed}, tcpTraffic, proxyFamilies
}

func runTCP(ctx context.Context, s *session) ([]WorkResult, error) {
	if runtime.NumCPU() < proxyThreads {
		return nil, fmt.Errorf("the tcp suite needs %d CPUs", proxyThreads)
	}
	programs, err := findProxyPrograms()
	if err != nil {
		return nil, err
	}
	plan, kinds, families := tcpPlan(s.Options)
	beds, err := s.tcpBeds(ctx, programs, false)
	if err != nil {
		return nil, err
	}
	var works []Work
	for _, f := range families {
		works = append(works, tcpWorks(kinds, beds, f, tcpTime)...)
	}
	results, err := Run(ctx, works, plan, s.Progress)
	if err != nil || s.Quick {
		return results, err
	}
	idle, err := s.further(ctx, "idle connections", leastRounds, tcpWorks(tcpIdle, idleBeds(beds), families[0], tcpTime))
	if err != nil {
		return nil, err
	}
	if beds, err = s.tcpBeds(ctx, programs, true); err != nil {
		return nil, err
	}
	works = tcpWorks(quickWorks(tcpTraffic), beds, families[0], tcpTime)
	for i := range works {
		works[i].Name += ", with access logs"
	}
	logged, err := s.further(ctx, "access logs", 2*leastRounds, works)
	if err != nil {
		return nil, err
	}
	if beds, err = s.operationBeds(ctx, programs); err != nil {
		return nil, err
	}
	operated, err := s.further(ctx, "operations", leastRounds, operationWorks(beds))
	return slices.Concat(results, idle, logged, operated), err
}

// further measures works beside a suite's main ones. What fails is left out rather than the rest lost.
func (s *session) further(ctx context.Context, what string, rounds int, works []Work) ([]WorkResult, error) {
	results, err := Run(ctx, works, Plan{Rounds: rounds, Seed: s.Seed}, s.Progress)
	if err != nil && ctx.Err() == nil {
		s.leaveOut(what, err.Error())
		return nil, nil
	}
	return results, err
}

func tcpWorks(kinds []proxyWork, beds []*proxyBed, f proxyFamily, each time.Duration) (works []Work) {
	for i := range kinds {
		works = append(works, kinds[i].on(beds, haproxyName, f, each))
	}
	return works
}

// processes returns the beds whose proxy is a process.
func processes(beds []*proxyBed) []*proxyBed {
	return slices.DeleteFunc(slices.Clone(beds), func(b *proxyBed) bool { return b.proxy == nil })
}

// proxyPrograms are this project's programs.
type proxyPrograms struct{ anyport, self string }

func findProxyPrograms() (p proxyPrograms, err error) {
	if p.self, err = os.Executable(); err != nil {
		return p, fmt.Errorf("find this program: %w", err)
	}
	p.anyport, err = findAnyport()
	return p, err
}

// tcpBeds starts the subjects that are here, with access logs or without.
func (s *session) tcpBeds(ctx context.Context, programs proxyPrograms, logs bool) ([]*proxyBed, error) {
	subjects := tcpSubjects(programs)
	if logs {
		subjects = slices.DeleteFunc(subjects, func(p proxySubject) bool { return !p.canLog })
	}
	return s.proxyBeds(ctx, subjects, proxyLine{self: programs.self, upstream: tcpUpstream, logs: logs, ready: (*proxyBed).readyTCP})
}
