// Package e2e tests the built anyport binary from outside, with real clients, in network namespaces client - proxy -
// upstream ([netlab.Trio]), over IPv4 and IPv6, TCP and UDP. Nothing here imports the code under test.
//
// The tests need root and the programs that each names with netlab.RequireProgram; peers.sh unpacks the servers.
package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// binaryPath is the path of the anyport under test, which TestMain has put there.
var binaryPath string

func TestMain(m *testing.M) { os.Exit(buildAndRun(m)) }

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "anyport-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binaryPath = filepath.Join(dir, "anyport")
	if err := makeBinary(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	// An unprivileged user runs it, too.
	if err := os.Chmod(dir, 0o755); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// makeBinary puts an anyport at binaryPath: the one that the environment names, or a fresh one.
func makeBinary() error {
	if made := os.Getenv("ANYPORT_E2E_BINARY"); made != "" {
		binary, err := os.ReadFile(made)
		if err != nil {
			return fmt.Errorf("copy anyport: %w", err)
		}
		return os.WriteFile(binaryPath, binary, 0o755)
	}
	build := exec.Command("go", "build", "-o", binaryPath, "anyport/cmd/anyport")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build anyport: %w\n%s", err, out)
	}
	return nil
}
