package e2e

import (
	"net/netip"
	"testing"

	"anyport/bench/netlab"
)

// TestOwnDNSServer asks anyport's own DNS server on random addresses of both prefixes by dig, over UDP and TCP, beside
// a daemon that holds port 53 of the wildcard address. All other ports stay refused.
func TestOwnDNSServer(t *testing.T) {
	netlab.RequireRoot(t)
	netlab.RequireProgram(t, "dig")
	w := newWorld(t)
	w.wildcardDaemons("bystander", 53)
	w.run(prefixes + "[[dns]]\nzones = [\"" + w.file("example.zone", zone()) + "\"]\nudp_size = 4096\n")
	for _, f := range families {
		for _, transport := range []string{"+notcp", "+tcp"} {
			t.Run(f.name+transport, func(t *testing.T) { checkDig(t, w, f, transport) })
		}
		for _, network := range []string{"tcp", "udp"} {
			if err := refusal(w.Client, network, netip.AddrPortFrom(f.address(w.rng), 54)); !isRefused(err) {
				t.Errorf("%s port 54: %v, want a refusal", network, err)
			}
		}
	}
}
