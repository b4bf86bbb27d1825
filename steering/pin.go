package steering

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"anyport/bpf"
)

// pinnable is what cilium/ebpf's maps, programs and links have in common.
type pinnable interface {
	Pin(path string) error
}

// access is who may use a pin.
type access struct {
	mode  fs.FileMode
	group int
}

// privately is the access to all that no option opens to a group.
var privately = access{0o600, 0}

// pinAccess returns who may use the pin of a shared map.
func (o *Options) pinAccess(name string) access {
	switch name {
	case bpf.SteerMapSockets:
		if o.Owners != 0 {
			return access{0o660, o.Owners}
		}
	case bpf.SteerMapCounters:
		if o.Readers != 0 {
			return access{0o640, o.Readers}
		}
	case bpf.SteerMapMeta: // no secret, and whoever may use something else here has to know it
		return access{0o644, 0}
	}
	return privately
}

// readersOf returns who may read the counters in dir, as Load was told: each generation's rules are for the same.
func readersOf(dir string) (access, error) {
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(dir, bpf.SteerMapCounters), &st); err != nil {
		return access{}, fmt.Errorf("read mode of counters: %w", err)
	}
	return access{fs.FileMode(st.Mode & 0o777), int(st.Gid)}, nil
}

// pin pins p at path. The kernel makes pins with mode 0600 less the umask (bpf_obj_do_pin), so that nobody gets in
// before the mode is what it should be.
func pin(p pinnable, path string, a access) error {
	if err := p.Pin(path); err != nil {
		return fmt.Errorf("pin %s: %w", path, err)
	}
	if a.group != 0 {
		if err := os.Chown(path, -1, a.group); err != nil {
			return fmt.Errorf("pin %s: %w", path, err)
		}
	}
	if err := os.Chmod(path, a.mode); err != nil {
		return fmt.Errorf("pin %s: %w", path, err)
	}
	return nil
}
