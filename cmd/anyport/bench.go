package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// benchCommand becomes the anyport-bench binary beside this one, which keeps plot libraries out of the daemon.
func benchCommand(args []string) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this binary: %w", err)
	}
	bench := filepath.Join(filepath.Dir(self), "anyport-bench")
	err = unix.Exec(bench, append([]string{bench}, args...), os.Environ())
	if errors.Is(err, unix.ENOENT) {
		return hintError{fmt.Errorf("run %s: %w", bench, err), "build it with \"make build\", or install it beside anyport"}
	}
	return fmt.Errorf("run %s: %w", bench, err)
}
