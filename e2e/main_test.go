// Package e2e tests the built anyport binary from outside, with real clients, in network namespaces client - proxy -
// upstream ([netlab.Trio]), over IPv4 and IPv6, TCP and UDP. Nothing here imports the code under test.
//
// The tests need root and the programs that each names with netlab.RequireProgram; peers.sh unpacks the servers.
package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"anyport/bench/netlab"
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
	if err := netlab.MakeBinaries(dir); err != nil {
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
