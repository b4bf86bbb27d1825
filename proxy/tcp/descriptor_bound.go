package tcp

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// keptFree is how many of the process's descriptors connections leave to the rest of it, at most: reloads, look-ups,
// metrics, log files.
const keptFree = 256

// descriptorBound returns the number that descriptors of connections and pipes stay below: seven eighths of
// RLIMIT_NOFILE's soft limit, or all but [keptFree] of a large one. Because the kernel hands out the lowest number that
// is free (POSIX.1-2024, 2.6), a number at the bound means that all below it are in use.
func descriptorBound() (int, error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("read RLIMIT_NOFILE: %w", err)
	}
	return int(limit.Cur - min(limit.Cur/8, keptFree)), nil
}
