package bench

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

var datagramRate = []Figure{{"datagrams", "1/s", true}}

// manyCount is the number of flows that must not slow a proxy down. One with a descriptor for each cannot have so many,
// fewCount is what it can have.
const (
	manyCount = 100_000
	fewCount  = 8_000
)

// The works of the suite.
var (
	echoWork   = proxyWork{name: "64 B echo, 64 flows", per: "datagram", figures: datagramRate, measure: measureFew}
	manyWork   = proxyWork{name: "64 B echo, 100,000 flows", per: "datagram", figures: datagramRate, measure: measureMany}
	onceWork   = proxyWork{name: "64 B echo, a new flow for every datagram", per: "datagram", figures: datagramRate, measure: measureOnce}
	trainsWork = proxyWork{name: "1,400 B datagrams to the upstream, in trains of 32", per: "datagram", figures: throughput, measure: measureTrains}
)

// udpWorks are what all subjects do that can.
func udpWorks(beds []*proxyBed, f proxyFamily, each time.Duration) []Work {
	usual := without(beds, func(s *proxySubject) bool { return s.onceOnly })
	return []Work{
		echoWork.on(usual, nginxName, f, each),
		manyWork.on(without(usual, func(s *proxySubject) bool { return s.perFlow }), nginxName, f, each),
		onceWork.on(beds, nginxName, f, each),
		trainsWork.on(usual, nginxName, f, each),
	}
}

// udpMemory are works of what flows take.
func udpMemory(beds []*proxyBed, f proxyFamily) []Work {
	all := without(processes(beds), func(s *proxySubject) bool { return s.onceOnly || s.name == bareName })
	return []Work{
		fewFlows.on(all, nginxName, f, 0),
		manyFlows.on(without(all, func(s *proxySubject) bool { return s.perFlow }), nginxName, f, 0),
	}
}

// without returns the beds of the subjects for which no is false.
func without(beds []*proxyBed, no func(*proxySubject) bool) []*proxyBed {
	return slices.DeleteFunc(slices.Clone(beds), func(b *proxyBed) bool { return no(b.subject) })
}

// sequence returns the flows of a work on the bed, which go on from one measurement to the next.
func (b *proxyBed) sequence(work string, first, count int) *flowSequence {
	if b.flows == nil {
		b.flows = make(map[string]*flowSequence)
	}
	if b.flows[work] == nil {
		b.flows[work] = &flowSequence{first: first, count: count}
	}
	return b.flows[work]
}

func measureFew(b *proxyBed, f *proxyFamily, d time.Duration) (Sample, error) {
	return b.measureEcho(f, 64, d)
}

func measureMany(b *proxyBed, f *proxyFamily, d time.Duration) (Sample, error) {
	return b.measureEcho(f, b.many, d)
}

// measureEcho measures established flows: each has been used off the clock.
func (b *proxyBed) measureEcho(f *proxyFamily, flows int, d time.Duration) (Sample, error) {
	sequence := b.sequence(fmt.Sprint(f.name, flows), 0, flows)
	if err := b.fill(f, udpEchoPort, sequence, max(1, b.subject.establishes)); err != nil {
		return Sample{}, err
	}
	return b.perSecond(d, []proxyLoad{&udpEcho{bed: b, family: f, port: udpEchoPort, flows: sequence}})
}

// fill uses each flow that has not been used so often.
func (b *proxyBed) fill(f *proxyFamily, port uint16, flows *flowSequence, passes int) error {
	if flows.passes >= passes {
		return nil
	}
	l := &udpEcho{bed: b, family: f, port: port, flows: flows, passes: passes}
	_, _, _, err := b.measureLoads(0, l)
	return err
}

// onceFlows is more new flows than a suite makes.
const onceFlows = 1 << 30

func measureOnce(b *proxyBed, f *proxyFamily, d time.Duration) (Sample, error) {
	if err := b.forgetTracked(udpOncePort); err != nil {
		return Sample{}, err
	}
	if b.subject.capped {
		if err := b.fill(f, udpOncePort, b.sequence(f.name+" cap", 0, b.many), 1); err != nil {
			return Sample{}, err
		}
	}
	sequence := b.sequence(f.name+" once", onceFlow, onceFlows)
	return b.perSecond(d, []proxyLoad{&udpEcho{bed: b, family: f, port: udpOncePort, flows: sequence}})
}

// forgetTracked empties connection tracking of what goes to a port, so that its table never fills.
func (b *proxyBed) forgetTracked(port uint16) error {
	return b.Proxy.Do(func() error {
		for _, family := range []netlink.InetFamily{unix.AF_INET, unix.AF_INET6} {
			filter := &netlink.ConntrackFilter{}
			err := errors.Join(filter.AddProtocol(unix.IPPROTO_UDP), filter.AddPort(netlink.ConntrackOrigDstPort, port))
			if err == nil {
				_, err = netlink.ConntrackDeleteFilters(netlink.ConntrackTable, family, filter)
			}
			if err != nil {
				return fmt.Errorf("forget tracked flows: %w", err)
			}
		}
		return nil
	})
}

func measureTrains(b *proxyBed, f *proxyFamily, d time.Duration) (Sample, error) {
	sample, err := b.perSecond(d, []proxyLoad{&udpBulk{to: netip.AddrPortFrom(f.dialled, udpBulkPort)}})
	if err == nil {
		sample.Values[0] *= segmentSize * 8 / 1e6 // datagrams to megabits
	}
	return sample, err
}
