package steering

import (
	"fmt"

	"github.com/cilium/ebpf"

	"anyport/bpf"
	"anyport/conf/rule"
)

// tableNames are the maps of a generation that the program reads, in the order they are made and pinned.
var tableNames = []string{
	bpf.SteerMapDst4, bpf.SteerMapDst6, bpf.SteerMapIntervals, bpf.SteerMapRows, bpf.SteerMapActions,
	bpf.SteerMapSrc4, bpf.SteerMapSrc6, bpf.SteerMapRates,
}

// buildTables makes the maps of one generation from a compiled table. ids gives each rule's counter.
func buildTables(t *rule.Table, ids []uint32) (mapSet, error) {
	spec, err := steerSpec()
	if err != nil {
		return nil, err
	}
	built := make(mapSet)
	for _, name := range tableNames {
		if built[name], err = buildTable(spec.Maps[name], t, ids); err != nil {
			built.close()
			return nil, err
		}
	}
	return built, nil
}

func buildTable(spec *ebpf.MapSpec, t *rule.Table, ids []uint32) (*ebpf.Map, error) {
	switch spec.Name {
	case bpf.SteerMapDst4:
		keys, values := nodes4(t.Nodes)
		return fill(spec, keys, values)
	case bpf.SteerMapDst6:
		keys, values := nodes6(t.Nodes)
		return fill(spec, keys, values)
	case bpf.SteerMapIntervals:
		return fillArray(spec, intervals(t.Intervals))
	case bpf.SteerMapRows:
		return fillArray(spec, rows(t.Rows))
	case bpf.SteerMapActions:
		return fillArray(spec, actions(t.Actions, t.Set(), ids))
	case bpf.SteerMapSrc4:
		keys, values := sources4(t.Sources)
		return fill(spec, keys, values)
	case bpf.SteerMapSrc6:
		keys, values := sources6(t.Sources)
		return fill(spec, keys, values)
	case bpf.SteerMapRates:
		values, _ := rates(t.Set())
		return fillArray(spec, values)
	}
	return nil, fmt.Errorf("fill map %s: no such table", spec.Name)
}

// fill makes a map as long as its content, fills it and freezes it: nobody can change it any more.
func fill[K, V any](spec *ebpf.MapSpec, keys []K, values []V) (*ebpf.Map, error) {
	spec = spec.Copy()
	spec.MaxEntries = uint32(max(1, len(keys)))
	m, err := ebpf.NewMap(spec)
	if err != nil {
		return nil, fmt.Errorf("make map %s of %d entries: %w", spec.Name, spec.MaxEntries, err)
	}
	if len(keys) > 0 {
		if _, err := m.BatchUpdate(keys, values, nil); err != nil {
			m.Close()
			return nil, fmt.Errorf("fill map %s with %d entries: %w", spec.Name, len(keys), err)
		}
	}
	if err := m.Freeze(); err != nil {
		m.Close()
		return nil, fmt.Errorf("freeze map %s: %w", spec.Name, err)
	}
	return m, nil
}

func fillArray[V any](spec *ebpf.MapSpec, values []V) (*ebpf.Map, error) {
	return fill(spec, upTo(len(values)), values)
}

// upTo returns the numbers below n: the keys of an array.
func upTo(n int) []uint32 {
	keys := make([]uint32, n)
	for i := range keys {
		keys[i] = uint32(i)
	}
	return keys
}
