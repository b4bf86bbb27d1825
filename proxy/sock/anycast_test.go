package sock

import (
	"errors"
	"testing"

	"anyport/bench/netlab"
)

// anycast is a namespace in which a Trio's prefixes are local.
func anycast(t *testing.T) *netlab.Namespace {
	t.Helper()
	ns, err := netlab.New(t).Add("anycast")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(ns.AddLocalRoute(netlab.Prefix4), ns.AddLocalRoute(netlab.Prefix6)); err != nil {
		t.Fatal(err)
	}
	return ns
}

// inNamespace runs open in a namespace and closes what it returns when the test ends.
func inNamespace[T interface{ Close() error }](t *testing.T, ns *netlab.Namespace, open func() (T, error)) T {
	t.Helper()
	var s T
	if err := ns.Do(func() (err error) { s, err = open(); return err }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// ends are the sources and destinations of these tests: sources that no interface has, a privileged port among them,
// and then sources that are not even local.
var ends = []struct{ src, dst string }{
	{"198.18.1.2:53", "127.0.0.1:9999"},
	{"[2001:db8:0:7::9]:65535", "[::1]:9999"},
	{"203.0.113.9:443", "127.0.0.1:9998"},
	{"[2001:db8:9999::9]:443", "[::1]:9998"},
}
