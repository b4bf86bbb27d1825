package proxy

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"anyport/bench/netlab"
)

// envInside is set for the copy of the test binary that runs in the namespace.
const envInside = "ANYPORT_TEST_INSIDE_NAMESPACE"

// TestMain runs the tests in a network namespace of their own, which has a loopback interface and nothing else. Without
// root they run where they are, and those that need sockets skip.
func TestMain(m *testing.M) {
	if os.Geteuid() == 0 && os.Getenv(envInside) == "" {
		os.Exit(runInside())
	}
	goleak.VerifyTestMain(m)
}

func runInside() int {
	lab, err := netlab.Open()
	if err == nil {
		defer lab.Close()
		err = runIn(lab)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func runIn(lab *netlab.Lab) error {
	ns, err := lab.Add("proxy")
	if err != nil {
		return err
	}
	cmd := ns.Command(os.Args[0], os.Args[1:]...)
	cmd.Env = append(os.Environ(), envInside+"=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}
