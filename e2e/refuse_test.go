package e2e

import (
	"net/netip"
	"testing"
)

// TestUnclaimedPortRefused dials ports that no rule claims, that a rule refuses and that a source may not use: each
// time the kernel refuses, and the wire carries no SYN-ACK.
func TestUnclaimedPortRefused(t *testing.T) {
	w := newWorld(t)
	w.upstreams(7000, echo)
	w.run(prefixes + `
[[route]]
name = "web"
ports = "80-90,!85"
upstream = ["10.2.0.2:7000"]
[[route]]
name = "no-smtp"
ports = "25"
action = "refuse"
[[route]]
name = "office"
ports = "22"
from = ["10.77.0.0/16", "fd00:77::/32"]
upstream = ["10.2.0.2:7000"]
`)
	wire := startCapture(t, w.Client, "proxy0")
	for _, f := range families {
		addr := f.address(w.rng)
		if err := tryEcho(w.Client, netip.AddrPortFrom(addr, 80), "", []byte("hello")); err != nil {
			t.Error(err)
		}
		wire.waitFor(t, packet{netip.AddrPortFrom(addr, 80), "SYN-ACK"})
		for _, port := range []uint16{1, 22, 25, 79, 85, 91, 7000, 65535} {
			checkRefused(t, w, wire, netip.AddrPortFrom(addr, port))
		}
		checkPacketRefused(t, w, wire, withPort(f.address(w.rng), 4242))
	}
}

func checkRefused(t *testing.T, w *world, wire *capture, to netip.AddrPort) {
	t.Helper()
	if err := refusal(w.Client, "tcp", to); !isRefused(err) {
		t.Errorf("dial %s: %v, want a refusal", to, err)
		return
	}
	wire.waitFor(t, packet{to, "RST"})
	if wire.has(packet{to, "SYN-ACK"}) {
		t.Errorf("%s sent a SYN-ACK", to)
	}
}

func checkPacketRefused(t *testing.T, w *world, wire *capture, to netip.AddrPort) {
	t.Helper()
	if err := refusal(w.Client, "udp", to); !isRefused(err) {
		t.Errorf("send to %s: %v, want a refusal", to, err)
		return
	}
	wire.waitFor(t, packet{to, "unreachable"})
}
