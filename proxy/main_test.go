package proxy

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"anyport/bench/netlab"
)

// TestMain runs the tests in a network namespace of their own, which has a loopback interface and nothing else. Without
// root they run where they are, and those that need sockets skip.
func TestMain(m *testing.M) {
	if status, done := netlab.RunInside(nil); done {
		os.Exit(status)
	}
	goleak.VerifyTestMain(m)
}
