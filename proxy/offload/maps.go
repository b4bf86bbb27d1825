package offload

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"anyport/bpf"
)

// flowMaps are the maps of bpf/flows.h.
type flowMaps struct {
	byName map[string]*ebpf.Map
	memory []byte            // of the map flows
	flows  []bpf.OffloadFlow // the same
}

// mapNames are the pinned maps; the last one says that the others are complete.
var mapNames = []string{bpf.OffloadMapFlows, bpf.OffloadMapByClient, bpf.OffloadMapByNat, bpf.OffloadMapRoutes,
	bpf.OffloadMapOutcomes, bpf.OffloadMapMeta}

// offloadSpec returns what the embedded object holds. It is shared: copy what is to be changed.
var offloadSpec = sync.OnceValues(bpf.LoadOffload)

// openMaps opens the maps that are pinned in dir, or makes them for n flows. Maps that are there keep their size. Maps of
// another schema are thrown away with their flows, whose datagrams then come to the sockets as those of new flows.
func openMaps(dir string, n int) (*flowMaps, error) {
	m := &flowMaps{byName: make(map[string]*ebpf.Map)}
	err := m.open(dir)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errSchema) {
		m.close()
		if err = removePins(dir, mapNames); err == nil {
			err = m.make(dir, n)
		}
	}
	if err == nil {
		err = m.mapFlows()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open flow maps: %w", err), m.close())
	}
	return m, nil
}

var errSchema = errors.New("the flow maps have another layout")

func (m *flowMaps) open(dir string) error {
	for _, name := range mapNames {
		opened, err := ebpf.LoadPinnedMap(filepath.Join(dir, name), nil)
		if err != nil {
			return err
		}
		m.byName[name] = opened
	}
	meta, err := m.meta()
	if err != nil {
		return err
	}
	if meta.Schema != bpf.OffloadSchemaSCHEMA {
		return errSchema
	}
	return nil
}

func (m *flowMaps) make(dir string, n int) error {
	spec, err := offloadSpec()
	if err != nil {
		return err
	}
	spec = spec.Copy()
	for _, name := range []string{bpf.OffloadMapFlows, bpf.OffloadMapByClient, bpf.OffloadMapByNat} {
		spec.Maps[name].MaxEntries = uint32(n)
	}
	for _, name := range mapNames {
		if m.byName[name], err = ebpf.NewMap(spec.Maps[name]); err != nil {
			return fmt.Errorf("make map %s: %w", name, err)
		}
	}
	if err := m.changeMeta(func(meta *bpf.OffloadMeta) { meta.Schema = bpf.OffloadSchemaSCHEMA }); err != nil {
		return err
	}
	for _, name := range mapNames {
		if err := m.byName[name].Pin(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("pin map %s: %w", name, err)
		}
	}
	return nil
}

func (m *flowMaps) meta() (meta bpf.OffloadMeta, err error) {
	if err = m.byName[bpf.OffloadMapMeta].Lookup(uint32(0), &meta); err != nil {
		err = fmt.Errorf("read state of flow maps: %w", err)
	}
	return meta, err
}

// changeMeta changes what one process at a time writes.
func (m *flowMaps) changeMeta(change func(*bpf.OffloadMeta)) error {
	meta, err := m.meta()
	if err != nil {
		return err
	}
	change(&meta)
	if err := m.byName[bpf.OffloadMapMeta].Put(uint32(0), &meta); err != nil {
		return fmt.Errorf("write state of flow maps: %w", err)
	}
	return nil
}

// mapFlows maps the flows into memory, which reading counters and writing slots then take no system call.
func (m *flowMaps) mapFlows() (err error) {
	flows := m.byName[bpf.OffloadMapFlows]
	size := int(flows.MaxEntries()) * int(flows.ValueSize())
	m.memory, err = unix.Mmap(flows.FD(), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map flows into memory: %w", err)
	}
	m.flows = unsafe.Slice((*bpf.OffloadFlow)(unsafe.Pointer(&m.memory[0])), flows.MaxEntries())
	return nil
}

func (m *flowMaps) close() error {
	var err error
	if m.memory != nil {
		err = unix.Munmap(m.memory)
		m.memory, m.flows = nil, nil
	}
	for name, opened := range m.byName {
		err = errors.Join(err, opened.Close())
		delete(m.byName, name)
	}
	return err
}

func removePins(dir string, names []string) error {
	for _, name := range names {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove pin: %w", err)
		}
	}
	return nil
}

// loadProgram loads the program over the maps.
func (m *flowMaps) loadProgram() (*ebpf.Program, error) {
	shared, err := offloadSpec()
	if err != nil {
		return nil, err
	}
	spec := shared.Copy()
	replace := make(map[string]*ebpf.Map)
	for name, opened := range m.byName {
		if name == bpf.OffloadMapRoutes {
			delete(spec.Maps, name) // for user space only
			continue
		}
		spec.Maps[name].MaxEntries = opened.MaxEntries()
		replace[name] = opened
	}
	coll, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: replace})
	if err != nil {
		return nil, fmt.Errorf("load offload program: %w", err)
	}
	defer coll.Close()
	return coll.DetachProgram(bpf.OffloadProgAnyportOffload), nil
}
