package tcp

import (
	"flag"
	"net"
	"net/netip"
	"os"
	"testing"

	"go.uber.org/goleak"

	"anyport/bench/netlab"
)

// family is the addresses of one IP version that the tests use, none of them outside the host.
type family struct {
	name        string
	served      netip.Addr // a prefix of its own: what clients dial
	upstream    netip.Addr
	spare       netip.Addr // of a second upstream
	unreachable netip.Addr // no route leads there, inside the tests' namespace
}

var (
	v4 = family{"v4", netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.3"),
		netip.MustParseAddr("127.0.0.4"), netip.MustParseAddr("198.51.100.1")}
	v6 = family{"v6", netip.MustParseAddr("fd00:a::2"), netip.MustParseAddr("fd00:a::3"),
		netip.MustParseAddr("fd00:a::4"), netip.MustParseAddr("2001:db8::1")}
)

// paths are the ways from a client's family to an upstream's.
var paths = []struct {
	name             string
	client, upstream family
}{{"v4", v4, v4}, {"v6", v6, v6}, {"v4-to-v6", v4, v6}, {"v6-to-v4", v6, v4}}

// TestMain runs the tests in a network namespace of their own, where all addresses exist and nothing else does. Without
// root they run where they are, without IPv6.
func TestMain(m *testing.M) {
	flag.Parse()
	if status, done := netlab.RunInside(addAddresses); done {
		os.Exit(status)
	}
	warmUp()
	goleak.VerifyTestMain(m)
}

// warmUp makes the runtime open its poller's descriptors, so that no test finds more of them than before.
func warmUp() {
	if l, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		l.Close()
	}
}

func addAddresses(ns *netlab.Namespace) error {
	for _, a := range append([]netip.Addr{v6.served, v6.upstream, v6.spare}, pool[v6.name].V6...) {
		if err := ns.AddAddr("lo", netip.PrefixFrom(a, 128)); err != nil {
			return err
		}
	}
	return nil
}

// need skips a test of families that are not to be had.
func need(t *testing.T, families ...family) {
	t.Helper()
	for _, f := range families {
		if f == v6 && !netlab.Inside() {
			netlab.Missing(t, "root, for IPv6 addresses in a namespace")
		}
	}
}
