package steering

import (
	"fmt"
	"sync"

	"github.com/cilium/ebpf"

	"anyport/bpf"
)

// usedNames are the maps of sharedNames that the program uses.
var usedNames = []string{
	bpf.SteerMapSockets, bpf.SteerMapCounters, bpf.SteerMapSamples, bpf.SteerMapSampling, bpf.SteerMapBuckets,
	bpf.SteerMapHandshakes,
}

// sharedNames are the maps that outlive generations.
var sharedNames = append([]string{bpf.SteerMapMeta}, usedNames...)

// steerSpec returns what the embedded object holds. It is shared: copy what is to be changed.
var steerSpec = sync.OnceValues(bpf.LoadSteer)

// loadProgram loads a fresh program over the given maps, which must be all that it reads. With reportAll it is a twin,
// which tells of every packet it judges.
func loadProgram(maps mapSet, reportAll bool) (*ebpf.Program, error) {
	shared, err := steerSpec()
	if err != nil {
		return nil, err
	}
	spec := shared.Copy()
	delete(spec.Maps, bpf.SteerMapRules) // for user space only
	delete(spec.Maps, bpf.SteerMapMeta)
	for name, m := range maps {
		spec.Maps[name].MaxEntries = m.MaxEntries()
	}
	if err := spec.Variables[bpf.SteerVarReportAll].Set(reportAll); err != nil {
		return nil, fmt.Errorf("load program: %w", err)
	}
	coll, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: maps})
	if err != nil {
		return nil, fmt.Errorf("load program: %w", err)
	}
	defer coll.Close()
	return coll.DetachProgram(bpf.SteerProgAnyportSteer), nil
}

// isCurrent reports whether p is the program that is embedded here, by its tag.
func isCurrent(p *ebpf.Program) (bool, error) {
	spec, err := steerSpec()
	if err != nil {
		return false, err
	}
	info, err := p.Info()
	if err != nil {
		return false, fmt.Errorf("read program info: %w", err)
	}
	return spec.Programs[bpf.SteerProgAnyportSteer].Compatible(info) == nil, nil
}
