package steering

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Names of the pins in the directory of a network namespace; those of a generation's maps are the maps' own names.
// bpffs refuses names with a dot.
const (
	pinLink          = "link"
	pinProgram       = "program"
	generationPrefix = "generation-"
)

// baseMode lets nobody but root list the base directory, and so nobody else hold its lock.
const baseMode, directoryMode = 0o711, 0o755

// baseDir holds a directory for each network namespace, and the lock for all of them.
func (o *Options) baseDir() string { return filepath.Join(o.Bpffs, "anyport") }

// dir is the directory of one network namespace.
func (o *Options) dir(n *namespace) string {
	return filepath.Join(o.baseDir(), strconv.FormatUint(n.inode, 10))
}

// Directory returns the directory that holds the pins of the caller's network namespace, whether anything is loaded there
// or not. Programs that belong to the same service may have a directory of their own in it; Unload removes it all.
func Directory(o Options) (string, error) {
	s, err := newSteering(o)
	if err != nil {
		return "", err
	}
	return s.dir, s.Close()
}

func generationDir(dir string, number uint64) string {
	return filepath.Join(dir, generationPrefix+strconv.FormatUint(number, 10))
}

// generationNumbers lists the generations in dir, live or left over.
func generationNumbers(dir string) ([]uint64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list generations: %w", err)
	}
	var numbers []uint64
	for _, e := range entries {
		text, ok := strings.CutPrefix(e.Name(), generationPrefix)
		if !ok {
			continue
		}
		if n, err := strconv.ParseUint(text, 10, 64); err == nil {
			numbers = append(numbers, n)
		}
	}
	return numbers, nil
}

// makeDir makes a directory with exactly this mode, whatever the umask.
func makeDir(path string, mode fs.FileMode) error {
	if err := os.Mkdir(path, mode); err != nil {
		return fmt.Errorf("make pin directory: %w", err)
	}
	if err := os.Chmod(path, mode); err != nil {
		return fmt.Errorf("make pin directory: %w", err)
	}
	return nil
}

// removeDir removes a directory of pins with all that is in it.
func removeDir(path string) error {
	if err := os.RemoveAll(path); err != nil {
		return fmt.Errorf("remove pins: %w", err)
	}
	return nil
}

// checkBase refuses a base directory that somebody else could change: on a bpffs mounted without options, everybody may
// make directories at the top. It returns ErrNotLoaded if there is none.
func (o *Options) checkBase() error {
	var st unix.Stat_t
	err := unix.Lstat(o.baseDir(), &st)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return ErrNotLoaded
	case err != nil:
		return fmt.Errorf("look at pin directory %s: %w", o.baseDir(), err)
	case st.Uid != 0 && st.Uid != uint32(os.Geteuid()) || st.Mode&0o022 != 0 || st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return fmt.Errorf("pin directory %s is not safe: owner %d, mode %#o", o.baseDir(), st.Uid, st.Mode&0o7777)
	}
	return nil
}

// locked runs fn while no other writer changes anything, in any namespace and any process. The base directory is never
// removed, so that all lock the same one. It returns ErrNotLoaded if there is none.
func (o *Options) locked(fn func() error) error {
	if err := o.checkBase(); err != nil {
		return err
	}
	base, err := os.Open(o.baseDir())
	if err != nil {
		return fmt.Errorf("lock steering: %w", err)
	}
	defer base.Close() // unlocks
	if err := lock(base); err != nil {
		return fmt.Errorf("lock steering: %w", err)
	}
	return fn()
}

// lock waits for the lock on an open directory (flock(2)), which is held until the directory is closed.
func lock(dir *os.File) error {
	for {
		if err := unix.Flock(int(dir.Fd()), unix.LOCK_EX); err != unix.EINTR {
			return err
		}
	}
}
