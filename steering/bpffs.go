package steering

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// bpffsMode lets users pass through the root of a bpffs that we mount to pins that their group may use, and no more.
const bpffsMode = "mode=0711"

// mountBpffs makes sure that a BPF file system is mounted at path. It needs CAP_SYS_ADMIN to mount one. The mount is
// seen in the caller's mount namespace, and the pins live as long as it does: `ip netns exec` makes one that ends with
// the command, `nsenter --net=` does not.
func mountBpffs(path string) error {
	mounted, err := isBpffs(path)
	if err != nil || mounted {
		return err
	}
	dir, err := os.Open(path)
	if err != nil {
		return &bpffsError{path, fmt.Errorf("mount bpffs: %w", err)}
	}
	defer dir.Close() // unlocks
	if err := lock(dir); err != nil {
		return &bpffsError{path, fmt.Errorf("mount bpffs: %w", err)}
	}
	if mounted, err = isBpffs(path); err != nil || mounted { // another process was quicker, and must not be buried
		return err
	}
	const flags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_RELATIME
	if err := unix.Mount("bpf", path, "bpf", flags, bpffsMode); err != nil {
		return &bpffsError{path, fmt.Errorf("mount bpffs at %s: %w", path, err)}
	}
	return nil
}

// isBpffs reports whether path lies in a BPF file system.
func isBpffs(path string) (bool, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(path, &fs); err != nil {
		return false, &bpffsError{path, fmt.Errorf("look for bpffs at %s: %w", path, err)}
	}
	return uint32(fs.Type) == unix.BPF_FS_MAGIC, nil // Type is signed on some architectures
}

// bpffsError says that there is no BPF file system to pin in.
type bpffsError struct {
	path string
	err  error
}

func (e *bpffsError) Error() string { return e.err.Error() }
func (e *bpffsError) Unwrap() error { return e.err }

// Hint tells how to mount one by hand.
func (e *bpffsError) Hint() string {
	if errors.Is(e.err, unix.ENODEV) || errors.Is(e.err, unix.ENOENT) {
		return "the kernel needs CONFIG_BPF_SYSCALL, and the directory must exist"
	}
	return "mount it as root: mount -t bpf bpf " + e.path
}
