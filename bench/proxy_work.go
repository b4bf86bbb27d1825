package bench

import (
	"slices"
	"time"
)

// proxyWork is one kind of traffic.
type proxyWork struct {
	name    string
	per     string // its unit
	figures []Figure
	measure func(b *proxyBed, f *proxyFamily, d time.Duration) (Sample, error)
	slow    bool // it is left to full runs
}

// quickWorks returns those that are not slow.
func quickWorks(works []proxyWork) []proxyWork {
	return slices.DeleteFunc(slices.Clone(works), func(p proxyWork) bool { return p.slow })
}

// on makes the work of one family over the beds, measured for a time each. Every subject is compared with the first
// one, whose control is the second one, and with a peer if it is there.
func (p *proxyWork) on(beds []*proxyBed, peer string, f proxyFamily, each time.Duration) Work {
	w := Work{
		Name: f.name + ": " + p.name, Per: p.per, Figures: p.figures,
		References: []string{beds[0].subject.name}, Control: beds[1].subject.name,
	}
	if slices.ContainsFunc(beds, func(b *proxyBed) bool { return b.subject.name == peer }) {
		w.References = append(w.References, peer)
	}
	for _, b := range beds {
		w.Subjects = append(w.Subjects, Subject{Name: b.subject.name, Measure: func() (Sample, error) {
			return p.measure(b, &f, each)
		}})
	}
	return w
}
