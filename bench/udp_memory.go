package bench

import (
	"errors"
	"time"
)

var (
	fewFlows  = proxyWork{name: "8,000 flows", per: "flow", figures: flowFigures, measure: measureFlows(fewCount)}
	manyFlows = proxyWork{name: "100,000 flows", per: "flow", figures: flowFigures, measure: measureFlows(manyCount)}
)

var flowFigures = []Figure{
	{"user memory of the proxy", "MiB", false}, {"memory that the flows have added", "MiB", false}, {"descriptors", "", false},
}

// measureFlows starts the proxy anew and tells what it has with flows, and what they have added: a proxy may have its table
// from the start.
func measureFlows(flows int) func(*proxyBed, *proxyFamily, time.Duration) (Sample, error) {
	return func(b *proxyBed, f *proxyFamily, _ time.Duration) (Sample, error) {
		if err := errors.Join(b.stop(), b.start()); err != nil {
			return Sample{}, err
		}
		empty, _ := memoryOf(b.pids)
		descriptors := countDescriptors(b.pids...)
		if err := b.fill(f, udpEchoPort, &flowSequence{count: flows}, 1); err != nil {
			return Sample{}, err
		}
		full, _ := memoryOf(b.pids)
		return Sample{Values: []float64{
			float64(full) / (1 << 20), float64(full-empty) / (1 << 20), float64(countDescriptors(b.pids...) - descriptors),
		}}, nil
	}
}
