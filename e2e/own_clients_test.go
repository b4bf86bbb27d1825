package e2e

import (
	"net/netip"
	"testing"
)

// TestHostsOwnClients dials from the proxy's own host, where the local routes must not make the dialled address the
// client's source.
func TestHostsOwnClients(t *testing.T) {
	w := newWorld(t)
	w.upstreams(7000, echoAs("upstream"))
	w.run(prefixes + "[[route]]\nupstream = [\"10.2.0.2:7000\"]\n")
	for _, f := range families {
		checkOwnConnection(t, w, f)
		c, err := packetConn(w.Proxy)
		w.must(err)
		defer c.Close()
		if err := tryPacket(c, f.destination(w.rng), []byte("hello")); err != nil {
			t.Error(err)
		}
	}
}

func checkOwnConnection(t *testing.T, w *world, f family) {
	t.Helper()
	to := f.destination(w.rng)
	c, err := dial(w.Proxy, to)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if own := c.LocalAddr().String(); f.prefix.Contains(netip.MustParseAddrPort(own).Addr()) {
		t.Errorf("the client's own address is %s, which is inside %s", own, f.prefix)
	}
	if got, err := exchange(c, []byte("hello")); err != nil || string(got) != "upstream\nhello" {
		t.Errorf("%s answered %q, %v", to, got, err)
	}
}
