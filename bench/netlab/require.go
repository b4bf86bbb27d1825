package netlab

import "os"

// TB is the part of testing.TB that this package uses. It keeps package testing out of programs.
type TB interface {
	Helper()
	Cleanup(func())
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Skipf(format string, args ...any)
}

// RequireRoot skips the test unless it runs as root.
func RequireRoot(t TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		Missing(t, "root")
	}
}

// Missing skips the test for want of what, or fails it where the environment variable CI is set: a machine that is
// meant to run every test must have it.
func Missing(t TB, what string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("needs %s, and CI is set", what)
	}
	t.Skipf("needs %s", what)
}
