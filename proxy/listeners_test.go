package proxy

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"anyport/bench/netlab"
	"anyport/conf"
)

// assigned is the listeners by the services that a rig's server has had them assigned to.
type assigned map[uint16]int

func (a assigned) assign(service uint16, listener, _ syscall.Conn) error {
	raw, err := listener.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Control(func(fd uintptr) { a[service] = int(fd) })
}

// mssOf returns the TCP_MAXSEG of a descriptor, which of a listener is 536 if nobody has set it.
func mssOf(t *testing.T, fd int) int {
	t.Helper()
	mss, err := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_MAXSEG)
	must(t, err)
	return mss
}

// mssRoutes is a configuration with a route for each mss.
func mssRoutes(list ...int) string {
	text := home
	for i, mss := range list {
		text += fmt.Sprintf("[[route]]\nports = \"%d\"\nmss = %d\nupstream = [\"127.0.0.2:80\"]\n", i+1, mss)
	}
	return text
}

// wantListeners checks which listeners there are, in the order of their services.
func (r *rig) wantListeners(when string, want ...int) {
	r.t.Helper()
	var got []int
	for _, l := range r.Listeners() {
		got = append(got, l.MSS)
	}
	if !slices.Equal(got, want) {
		r.t.Errorf("%s: listeners for mss %v, want %v", when, got, want)
	}
}

// Each mss has a listener, which is assigned before its rules are published; one that no route needs stays for the
// handshakes under way, and is closed then.
func TestListenersFollowRoutes(t *testing.T) {
	r := newRig(t, home)
	sockets := make(assigned)
	r.assign = sockets.assign
	put := func(list ...int) {
		t.Helper()
		g, err := r.Prepare(t.Context(), parse(t, mssRoutes(list...)).KeepServices(r.config()))
		must(t, err)
		must(t, r.Apply(g))
		for mss, service := range g.listeners() {
			if got := mssOf(t, sockets[service]); got != mss {
				t.Errorf("the listener for mss %d has %d", mss, got)
			}
		}
	}
	put(0)
	r.wantListeners("without mss")
	put(1000, 0, 1200, 1000)
	r.wantListeners("with two", 1000, 1200)
	before := maps.Clone(sockets)
	put(1200, 1100)
	r.wantListeners("with one more", 1000, 1200, 1100)
	if now := r.current.listeners()[1200]; sockets[now] != before[now] {
		t.Error("a listener that stays was made anew, or has another service")
	}
	put(1200, 1300)
	r.wantListeners("when one has taken the slot of another", 1300, 1200, 1100)
	gone := localAddress(t, r.listeners.byMSS[1000].socket.FD())
	r.settleListeners()
	if len(r.listeners.byMSS) != 4 {
		t.Errorf("%d listeners are open when two have been idle for a moment, want 4", len(r.listeners.byMSS))
	}
	r.run(t.Context())
	r.mu.Lock()
	r.listeners.byMSS[1000].idleSince = time.Now().Add(-listenerGrace - time.Second)
	r.listeners.byMSS[1100].idleSince = time.Now().Add(-listenerGrace - time.Second)
	r.listeners.byMSS[1200].idleSince = time.Now().Add(-listenerGrace - time.Second) // but it is needed
	r.mu.Unlock()
	r.settleListeners()
	r.wantListeners("when they have been idle for long", 1300, 1200)
	netlab.Eventually(t, "the listener is closed", func() bool {
		c, err := net.Dial("tcp", gone.String())
		if err == nil {
			c.Close()
		}
		return errors.Is(err, unix.ECONNREFUSED)
	})
}

// config returns the configuration in force, or an empty one.
func (r *rig) config() *conf.Config {
	if r.current == nil {
		return new(conf.Config)
	}
	return r.current.config
}

// What cannot be assigned leaves the generation before in force.
func TestListenerThatCannotBeAssigned(t *testing.T) {
	r := newRig(t, home)
	must(t, r.put(mssRoutes(0)))
	before := r.current
	if err := r.put(mssRoutes(1000)); !errors.Is(err, errNoService) || r.current != before {
		t.Errorf("Apply returned %v, want %v", err, errNoService)
	}
	r.assign = make(assigned).assign
	must(t, r.put(mssRoutes(1000)))
}
