package e2e

import (
	"fmt"
	"strings"
	"testing"

	"anyport/bench/netlab"
)

const nsdConfig = `
server:
	server-count: 1
	ip-address: 10.2.0.2
	ip-address: fd00:2::2
	port: 53
	username: ""
	chroot: ""
	zonesdir: "%[1]s"
	pidfile: "%[1]s/nsd.pid"
	database: ""
	xfrdfile: "%[1]s/xfrd.state"
	zonelistfile: "%[1]s/zone.list"
	xfrdir: "%[1]s"
	ipv4-edns-size: 4096
	ipv6-edns-size: 4096
	rrl-ratelimit: 0
remote-control:
	control-enable: no
zone:
	name: example.
	zonefile: example.zone
`

// zone has a short answer and one that is fragmented at MTU 1500 over UDP.
func zone() string {
	var b strings.Builder
	b.WriteString("$ORIGIN example.\n$TTL 300\n@ SOA ns hostmaster 1 3600 600 86400 300\n@ NS ns\nns A 192.0.2.53\n")
	b.WriteString("www A 192.0.2.80\nwww AAAA 2001:db8:ffff::80\n")
	for i := range 16 {
		fmt.Fprintf(&b, "big TXT \"%02d-%s\"\n", i, strings.Repeat("x", 200))
	}
	return b.String()
}

// TestDNSServerBehindProxy asks an NSD behind the proxy by dig, over UDP and TCP, on the usual port of random addresses.
func TestDNSServerBehindProxy(t *testing.T) {
	netlab.RequireRoot(t)
	netlab.RequireProgram(t, "nsd", "dig")
	w := newWorld(t)
	w.file("example.zone", zone())
	server, err := w.Upstream.Start("nsd", "-d", "-c", w.file("nsd.conf", fmt.Sprintf(nsdConfig, w.dir)))
	w.must(err)
	w.waitListening(w.Upstream, server, "10.2.0.2:53")
	w.run(prefixes + `
[[route]]
ports = "53"
upstream = ["10.2.0.2", "fd00:2::2"]
balance = "round_robin"
`)
	for _, f := range families {
		for _, transport := range []string{"+notcp", "+tcp"} {
			t.Run(f.name+transport, func(t *testing.T) {
				for range 4 { // twice each upstream
					checkDig(t, w, f, transport)
				}
			})
		}
	}
}

func checkDig(t *testing.T, w *world, f family, transport string) {
	t.Helper()
	dig := func(args ...string) string {
		args = append([]string{"@" + f.address(w.rng).String(), "+short", "+ignore", "+tries=1", transport}, args...)
		out, errs, status := runShort(t, w.Client.Command("dig", args...))
		if status != 0 {
			t.Errorf("dig %q ended with %d: %s%s", args, status, out, errs)
		}
		return out
	}
	if got := dig("www.example", "A"); got != "192.0.2.80\n" {
		t.Errorf("A record: %q", got)
	}
	if got := strings.Count(dig("big.example", "TXT", "+bufsize=4096"), "x\"\n"); got != 16 {
		t.Errorf("big answer has %d of 16 records", got)
	}
}
