package e2e

import (
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestKillRefuses kills anyport by SIGKILL. From then on the kernel refuses every port by itself, and nothing reaches
// a daemon on the wildcard address, neither at the moment of death nor later. A restart serves, with nothing cleaned up.
func TestKillRefuses(t *testing.T) {
	w := newWorld(t)
	w.upstreams(7000, echoAs("upstream"))
	w.wildcardDaemons("bystander", 4000)
	const config = prefixes + "[[route]]\nupstream = [\"10.2.0.2:7000\"]\n"
	d := w.run(config)

	targets := []netip.AddrPort{netip.MustParseAddrPort("198.18.1.1:4000"), netip.MustParseAddrPort("[2001:db8::1]:4000")}
	for _, to := range targets {
		checkGreeting(t, w, to, "upstream")
	}
	bypass := make(chan error, len(targets))
	stop := make(chan struct{})
	for _, to := range targets {
		go func() { bypass <- w.watchForBypass(to, stop) }()
	}

	w.must(d.Signal(syscall.SIGKILL))
	killed := time.Now()
	<-d.Done()
	for _, to := range targets {
		for _, network := range []string{"tcp", "udp"} {
			if err := refusal(w.Client, network, to); !isRefused(err) {
				t.Errorf("%s %s after the kill: %v, want a refusal", network, to, err)
			}
			t.Logf("%s %s is refused %v after the kill", network, to, time.Since(killed))
		}
	}
	close(stop)
	for range targets {
		if err := <-bypass; err != nil {
			t.Error(err)
		}
	}
	if len(w.leftovers()) == 0 {
		t.Error("nothing is pinned: what refuses?")
	}

	w.run(config)
	for _, to := range targets {
		checkGreeting(t, w, to, "upstream")
	}
}

// watchForBypass dials over and over. An attempt may be answered by the upstream or fail; it must not reach the daemon
// on the wildcard address.
func (w *world) watchForBypass(to netip.AddrPort, stop <-chan struct{}) error {
	for n := 0; ; n++ {
		select {
		case <-stop:
			if n == 0 {
				return fmt.Errorf("%s was never dialled", to)
			}
			return nil
		default:
		}
		c, err := dial(w.Client, to)
		if err != nil {
			continue
		}
		got, _ := exchange(c, nil)
		c.Close()
		if strings.Contains(string(got), "bystander") {
			return fmt.Errorf("%s reached the daemon on the wildcard address", to)
		}
	}
}
