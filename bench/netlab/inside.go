package netlab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
)

// envInside is set for the copy of a test binary that runs in a namespace.
const envInside = "ANYPORT_TEST_INSIDE_NAMESPACE"

// Inside reports whether this process is the copy that RunInside has started.
func Inside() bool { return os.Getenv(envInside) != "" }

// RunInside is for a TestMain whose tests share one network namespace. As root, and outside of one, it runs this test
// binary again in a fresh namespace, which prepare, if not nil, may furnish; it then returns the copy's exit status and
// true. Otherwise it returns false, and the caller runs the tests where they are.
func RunInside(prepare func(*Namespace) error) (status int, done bool) {
	if os.Geteuid() != 0 || Inside() {
		return 0, false
	}
	lab, err := Open()
	if err == nil {
		err = errors.Join(lab.runInside(prepare), lab.Close())
	}
	var failed *exec.ExitError
	switch {
	case err == nil:
		return 0, true
	case !errors.As(err, &failed):
		fmt.Fprintln(os.Stderr, err)
	}
	return 1, true
}

func (l *Lab) runInside(prepare func(*Namespace) error) error {
	ns, err := l.Add("inside")
	if err != nil {
		return err
	}
	if prepare != nil {
		if err := prepare(ns); err != nil {
			return err
		}
	}
	cmd := ns.Command(os.Args[0], os.Args[1:]...)
	cmd.Env = append(os.Environ(), envInside+"=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}
