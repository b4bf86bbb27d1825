package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// raiseDescriptorLimit raises RLIMIT_NOFILE's soft limit to the hard one: a proxied TCP connection takes two
// descriptors.
func raiseDescriptorLimit() error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("read RLIMIT_NOFILE: %w", err)
	}
	limit.Cur = limit.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("raise RLIMIT_NOFILE to %d: %w", limit.Max, err)
	}
	return nil
}
