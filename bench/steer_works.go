package bench

import (
	"math/rand/v2"
	"slices"
)

// steerSubject is a mode, with or without connection tracking.
type steerSubject struct {
	steerMode
	tracked tracked
}

const controlName = plainName + " again"

// steerSubjects returns the subjects in the order of the tables. A quick run does without the slow ones, and has
// connection tracking beside the two modes only that are measured with a full table too.
func steerSubjects(quick bool) []steerSubject {
	var subjects []steerSubject
	add := func(mode steerMode, suffix string, how tracked) {
		mode.name += suffix
		subjects = append(subjects, steerSubject{mode, how})
	}
	modes := slices.DeleteFunc(slices.Clone(steerModes), func(m steerMode) bool { return quick && m.slow })
	for _, mode := range modes {
		add(mode, "", untracked)
		if mode.name == plainName {
			mode.name = controlName
			add(mode, "", untracked)
		}
	}
	for _, mode := range modes {
		if mode.tracked && (mode.full || !quick) {
			add(mode, " + conntrack", trackedNotFull)
		}
	}
	for _, mode := range modes {
		if mode.full {
			add(mode, " + full conntrack", trackedFull)
		}
	}
	return subjects
}

// missing says what the subject lacks, or "".
func (s *steerSubject) missing(t *trackingTable) string {
	if s.tracked != untracked {
		nft := steerMode{programs: nftPrograms}
		if why := nft.missing(); why != "" {
			return why
		}
		if why := t.cannot(s.tracked); why != "" {
			return why
		}
	}
	return s.steerMode.missing()
}

// required reports whether the suite means nothing without the subject.
func (s *steerSubject) required() bool {
	return s.name == plainName || s.name == controlName || s.name == lookupName
}

// steerWork is one kind of traffic of the suite.
type steerWork struct {
	name, per, figure string
	full              bool // a full connection tracking table makes a difference to it
	slow              bool // not part of a quick run
	measure           func(*steerWorks, *steerBed) (Sample, error)
}

// The figures of the suite are CPU times of one thread, which is all that the machine spends on a packet, so that other
// work on the machine does not count.
const (
	receivePath = "CPU time of the receive path"        // of injected packets, up to the queue of the socket
	bothEnds    = "CPU time of client, link and server" // of the works in steer_clients.go
)

var steerWorkList = []steerWork{
	{name: "packets of new UDP flows, one port", per: "packet", figure: receivePath, full: true,
		measure: func(w *steerWorks, b *steerBed) (Sample, error) { return b.measurePackets(w.news(b).onePort) }},
	{name: "packets of new UDP flows, random ports", per: "packet", figure: receivePath, slow: true, measure: measureAnyPort},
	{name: "packets of connected UDP flows", per: "packet", figure: receivePath,
		measure: func(w *steerWorks, b *steerBed) (Sample, error) { return b.measurePackets(w.traffic.connected) }},
	{name: "SYN flood, answered with cookies", per: "SYN", figure: receivePath,
		measure: func(w *steerWorks, b *steerBed) (Sample, error) { return b.measureFlood(w.news(b).syns) }},
	{name: "datagrams of new UDP flows, sent and received", per: "datagram", figure: bothEnds,
		measure: func(w *steerWorks, b *steerBed) (Sample, error) { return b.measureDatagrams(w.rng) }},
	{name: "UDP ping-pong of 64 bytes", per: "round trip", figure: bothEnds,
		measure: func(w *steerWorks, b *steerBed) (Sample, error) { return b.measurePingPong(b.dialUDP, w.rng) }},
	{name: "TCP connect, accept, close", per: "connection", figure: bothEnds,
		measure: func(w *steerWorks, b *steerBed) (Sample, error) { return b.measureConnections(w.rng) }},
	{name: "TCP ping-pong of 64 bytes", per: "round trip", figure: bothEnds,
		measure: func(w *steerWorks, b *steerBed) (Sample, error) { return b.measurePingPong(b.dialTCP, w.rng) }},
}

// measureAnyPort sends packets to all ports. A socket that is bound to a port gets that port only: beside those that
// get every port it shows, on its one port, what is the limit.
func measureAnyPort(w *steerWorks, b *steerBed) (Sample, error) {
	if b.plan.everyPort() {
		return b.measurePackets(w.news(b).anyPort)
	}
	return b.measurePackets(w.news(b).onePort)
}

// steerWorks collects the works of one family while its subjects are being made.
type steerWorks struct {
	traffic steerTraffic
	rng     *rand.Rand
	kinds   []steerWork
	works   []Work // one for each kind
}

func newSteerWorks(f *steerFamily, t steerTraffic, quick bool, rng *rand.Rand) *steerWorks {
	w := &steerWorks{traffic: t, rng: rng}
	for _, kind := range steerWorkList {
		if quick && kind.slow {
			continue
		}
		w.kinds = append(w.kinds, kind)
		w.works = append(w.works, Work{
			Name: f.name + ": " + kind.name, Per: kind.per, Figures: []Figure{{Name: kind.figure, Unit: "ns/" + kind.per}},
			References: []string{plainName, lookupName}, Control: controlName,
		})
	}
	return w
}

// add gives every work the subject on its bed.
func (w *steerWorks) add(s steerSubject, b *steerBed) {
	for i, kind := range w.kinds {
		if s.tracked == trackedFull && !kind.full {
			continue
		}
		measure := func() (Sample, error) { return kind.measure(w, b) }
		if s.tracked != untracked {
			plain := measure
			measure = func() (Sample, error) { return b.measureTracked(s.tracked, w.traffic.fill, plain) }
		}
		w.works[i].Subjects = append(w.works[i].Subjects, Subject{Name: s.name, Measure: measure})
	}
}

// news returns the packets that the bed's sockets get.
func (w *steerWorks) news(b *steerBed) *newTraffic {
	if b.reach() < destinations {
		return &w.traffic.few
	}
	return &w.traffic.all
}

func (w *steerWorks) list() []Work { return w.works }
