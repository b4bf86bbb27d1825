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

// tcpPlan says how long a run measures, each time for how long, and how many families.
func tcpPlan(o Options) (plan Plan, each time.Duration, families []proxyFamily) {
	if o.Quick {
		return Plan{Rounds: leastRounds, Seed: o.Seed}, 40 * time.Millisecond, proxyFamilies[:1]
	}
	return Plan{Rounds: 15, Limit: 7 * time.Minute, Seed: o.Seed}, 200 * time.Millisecond, proxyFamilies
}

func runTCP(ctx context.Context, s *session) ([]WorkResult, error) {
	if runtime.NumCPU() < proxyThreads {
		return nil, fmt.Errorf("the tcp suite needs %d CPUs", proxyThreads)
	}
	programs, err := findProxyPrograms()
	if err != nil {
		return nil, err
	}
	plan, each, families := tcpPlan(s.Options)
	beds, err := s.tcpBeds(ctx, programs, false)
	if err != nil {
		return nil, err
	}
	var works []Work
	for _, f := range families {
		works = append(works, tcpWorks(tcpTraffic, beds, f, each, "")...)
	}
	results, err := Run(ctx, works, plan, s.Progress)
	if err != nil || s.Quick {
		return results, err
	}
	few := Plan{Rounds: leastRounds, Seed: s.Seed}
	idle, err := Run(ctx, tcpWorks(tcpIdle, beds, families[0], each, ""), few, s.Progress)
	if err != nil {
		return nil, err
	}
	logging, err := s.tcpBeds(ctx, programs, true)
	if err != nil {
		return nil, err
	}
	logged, err := Run(ctx, tcpWorks(tcpTraffic[:loggedWorks], logging, families[0], each, ", with access logs"), few, s.Progress)
	return slices.Concat(results, idle, logged), err
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
func (s *session) tcpBeds(ctx context.Context, programs proxyPrograms, logs bool) (beds []*proxyBed, err error) {
	subjects := tcpSubjects(programs)
	for i := range subjects {
		subject := &subjects[i]
		if logs && !subject.canLog {
			continue
		}
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		s.step("starting %s", subject.name)
		if why := subject.missing(); why != "" {
			s.leaveOut(subject.name, why)
			continue
		}
		b, err := newProxyBed(s, subject, programs.self, tcpUpstream, logs)
		if err != nil {
			return nil, fmt.Errorf("prepare %s: %w", subject.name, err)
		}
		if err := b.start(b.readyTCP); err != nil {
			return nil, err
		}
		beds = append(beds, b)
	}
	return beds, nil
}
