package e2e

import (
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
)

// TestSigtermDrains ends anyport by SIGTERM while connections are open: new ones are refused, the open ones work to
// their end, and then it exits with 0 and leaves nothing.
func TestSigtermDrains(t *testing.T) {
	w := newWorld(t)
	w.upstreams(7000, echo)
	d := w.run("drain_timeout = \"none\"\n" + prefixes + "[[route]]\nupstream = [\"10.2.0.2:7000\"]\n")
	conns := w.openConnections()
	w.must(d.Signal(syscall.SIGTERM))
	for i, f := range families {
		waitFor(t, "new connections to be refused", func() bool {
			return isRefused(refusal(w.Client, "tcp", f.destination(w.rng)))
		})
		if got, err := exchange(conns[i].TCPConn, []byte("still here?")); err != nil || string(got) != "still here?" {
			t.Errorf("while draining, %s answered %q, %v", conns[i].to, got, err)
		}
		conns[i].Close()
	}
	if status := d.waitExit(); status != 0 {
		t.Errorf("exit status %d", status)
	}
	if left := w.leftovers(); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// TestSigtermDrainsFlows does the same over UDP: a flow that is in use goes on, and the end comes when it has been idle
// for its timeout.
func TestSigtermDrainsFlows(t *testing.T) {
	w := newWorld(t)
	w.upstreams(9000, echo)
	d := w.run("drain_timeout = \"none\"\n" + prefixes +
		"[[route]]\nprotocol = \"udp\"\nidle_timeout = \"3s\"\nupstream = [\"10.2.0.2:9000\"]\n")
	var flows []*net.UDPConn
	var tos []netip.AddrPort
	for _, f := range families {
		c, err := packetConn(w.Client)
		w.must(err)
		defer c.Close()
		to := f.destination(w.rng)
		w.must(tryPacket(c, to, []byte("before")))
		flows, tos = append(flows, c), append(tos, to)
	}
	w.must(d.Signal(syscall.SIGTERM))
	waitFor(t, "the drain to begin", func() bool { return strings.Contains(d.Output(), "draining") })
	for i, c := range flows {
		if err := tryPacket(c, tos[i], []byte("while draining")); err != nil {
			t.Error(err)
		}
	}
	if status := d.waitExit(); status != 0 {
		t.Errorf("exit status %d", status)
	}
	if left := w.leftovers(); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// TestSecondSigtermStopsAtOnce does not wait for the connections that are open.
func TestSecondSigtermStopsAtOnce(t *testing.T) {
	w := newWorld(t)
	w.upstreams(7000, echo)
	d := w.run("drain_timeout = \"none\"\n" + prefixes + "[[route]]\nupstream = [\"10.2.0.2:7000\"]\n")
	conns := w.openConnections()
	w.must(d.Signal(syscall.SIGTERM))
	waitFor(t, "new connections to be refused", func() bool {
		return isRefused(refusal(w.Client, "tcp", conns[0].to))
	})
	select {
	case <-d.Done():
		t.Fatal("anyport did not wait for its connections")
	default:
	}
	w.must(d.Signal(syscall.SIGTERM))
	d.waitExit()
	if left := w.leftovers(); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// openConnections opens a connection of each family and sees it work. The test's end closes them.
func (w *world) openConnections() []openConnection {
	w.t.Helper()
	var conns []openConnection
	for _, f := range families {
		to := f.destination(w.rng)
		c, err := dial(w.Client, to)
		w.must(err)
		w.t.Cleanup(func() { c.Close() })
		w.must(pingPong(c, []byte("hello"), make([]byte, 5)))
		conns = append(conns, openConnection{c, to})
	}
	return conns
}

type openConnection struct {
	*net.TCPConn
	to netip.AddrPort
}
