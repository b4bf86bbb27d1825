package steering

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/cilium/ebpf"
)

// mapSet holds open maps by name.
type mapSet map[string]*ebpf.Map

// close closes them all; the kernel keeps those that are pinned or used by a program.
func (s mapSet) close() {
	for _, m := range s {
		m.Close()
	}
}

// openMaps opens the pins of these names in dir, for reading and writing.
func openMaps(dir string, names ...string) (mapSet, error) {
	s := make(mapSet)
	for _, name := range names {
		m, err := ebpf.LoadPinnedMap(filepath.Join(dir, name), nil)
		if err != nil {
			s.close()
			return nil, fmt.Errorf("open pinned map %s: %w", name, err)
		}
		s[name] = m
	}
	return s, nil
}

// readMap opens a pin for reading, for which 0640 and the right group are enough.
func readMap(dir, name string) (*ebpf.Map, error) {
	m, err := ebpf.LoadPinnedMap(filepath.Join(dir, name), &ebpf.LoadPinOptions{ReadOnly: true})
	if err != nil {
		return nil, fmt.Errorf("open pinned map %s: %w", name, err)
	}
	return m, nil
}

// goneIsNotLoaded turns the lack of a pin into ErrNotLoaded.
func goneIsNotLoaded(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return ErrNotLoaded
	}
	return err
}
