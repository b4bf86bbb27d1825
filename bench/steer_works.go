package bench

import "math/rand/v2"

// steerSubject is a mode, with or without connection tracking.
type steerSubject struct {
	steerMode
	conntrack bool
}

const controlName = plainName + " again"

// steerSubjects returns the subjects in the order of the tables. Tables of more than one prefix are not repeated with
// connection tracking, which costs them what it costs the others.
func steerSubjects() []steerSubject {
	var subjects []steerSubject
	for _, mode := range steerModes {
		subjects = append(subjects, steerSubject{steerMode: mode})
		if mode.name == plainName {
			mode.name = controlName
			subjects = append(subjects, steerSubject{steerMode: mode})
		}
	}
	for _, mode := range steerModes {
		if !mode.large {
			mode.name += " + conntrack"
			subjects = append(subjects, steerSubject{steerMode: mode, conntrack: true})
		}
	}
	return subjects
}

// missing says which program the subject lacks, or "".
func (s *steerSubject) missing() string {
	if s.conntrack {
		nft := steerMode{programs: nftPrograms}
		if why := nft.missing(); why != "" {
			return why
		}
	}
	return s.steerMode.missing()
}

// required reports whether the suite means nothing without the subject.
func (s *steerSubject) required() bool {
	return s.name == plainName || s.name == controlName || s.name == lookupName
}

// steerWorks collects the works of one family while its subjects are being made.
type steerWorks struct {
	traffic                          steerTraffic
	rng                              *rand.Rand
	onePort, anyPort, connected, tcp Work
}

func newSteerWorks(f *steerFamily, t steerTraffic, rng *rand.Rand) *steerWorks {
	references := []string{plainName, lookupName}
	work := func(name, per, figure string) Work {
		return Work{
			Name: f.name + ": " + name, Per: per, Figures: []Figure{{Name: figure, Unit: "ns/" + per}},
			References: references, Control: controlName,
		}
	}
	return &steerWorks{
		traffic: t, rng: rng,
		onePort:   work(newFlowsOnePort, "packet", "CPU time of the receive path"),
		anyPort:   work(newFlowsAnyPort, "packet", "CPU time of the receive path"),
		connected: work(connectedFlows, "packet", "CPU time of the receive path"),
		tcp:       work(tcpConnections, "connection", "time"),
	}
}

// add gives every work the subject on its bed. A plain socket gets one port only: beside those that get every port it
// shows, on its one port, what is the limit.
func (w *steerWorks) add(s steerSubject, b *steerBed) {
	add := func(work *Work, measure func() (Sample, error)) {
		work.Subjects = append(work.Subjects, Subject{Name: s.name, Measure: measure})
	}
	anyPort := w.traffic.anyPort
	if s.name == plainName || s.name == controlName || s.name == plainName+" + conntrack" {
		anyPort = w.traffic.onePort
	}
	add(&w.onePort, func() (Sample, error) { return b.measurePackets(w.traffic.onePort) })
	add(&w.anyPort, func() (Sample, error) { return b.measurePackets(anyPort) })
	add(&w.connected, func() (Sample, error) { return b.measurePackets(w.traffic.connected) })
	add(&w.tcp, func() (Sample, error) { return b.measureConnections(w.rng) })
	if s.name == plainName {
		generator := func() (Sample, error) { return b.measureGenerator(w.traffic.onePort) }
		w.onePort.Subjects = append(w.onePort.Subjects, Subject{Name: "the generator alone", Measure: generator})
	}
}

func (w *steerWorks) list() []Work { return []Work{w.onePort, w.anyPort, w.connected, w.tcp} }
