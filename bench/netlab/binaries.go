package netlab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// MakeBinaries puts anyport and anyport-bench into dir, where anybody may run them. They are copied from the folder that
// the environment variable ANYPORT_BIN names, so that tests under sudo need no Go, or else built.
func MakeBinaries(dir string) error {
	if made := os.Getenv("ANYPORT_BIN"); made != "" {
		return copyBinaries(made, dir)
	}
	build := exec.Command("go", "build", "-o", dir+string(filepath.Separator), "anyport/cmd/...")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build anyport: %w\n%s", err, out)
	}
	return nil
}

func copyBinaries(from, to string) error {
	for _, name := range []string{"anyport", "anyport-bench"} {
		binary, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			return fmt.Errorf("copy %s: %w", name, err)
		}
		if err := os.WriteFile(filepath.Join(to, name), binary, 0o755); err != nil {
			return fmt.Errorf("copy %s: %w", name, err)
		}
	}
	return nil
}
