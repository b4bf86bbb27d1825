package e2e

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"anyport/bench/netlab"
)

// TestDnsperf has dnsperf ask an NSD behind the proxy by twenty clients, over UDP, for answers of all sizes: through the
// sockets, through the kernel, and on a route that cuts long answers. To NSD they are all one client, so that its own limit
// of answers to one network is off.
func TestDnsperf(t *testing.T) {
	netlab.RequireProgram(t, "nsd", "dnsperf")
	w := newWorld(t)
	w.file("example.zone", zone())
	server, err := w.Upstream.Start("nsd", "-d", "-c", w.file("nsd.conf", fmt.Sprintf(nsdConfig, w.dir)))
	w.must(err)
	w.waitListening(w.Upstream, server, "10.2.0.2:53")
	text := prefixes
	for i, keys := range []string{"", "offload = \"auto\"", "offload = \"auto\"\nmax_datagram = 1232"} {
		text += fmt.Sprintf("[[route]]\nports = \"%d\"\nupstream = [\"10.2.0.2:53\", \"[fd00:2::2]:53\"]\n%s\n", 53+i, keys)
	}
	w.run(text)
	queries := w.file("queries", "www.example A\nbig.example TXT\nwww.example AAAA\nnone.example A\n")
	for _, f := range families {
		for port := 53; port <= 55; port++ {
			out, errs, status := runShort(t, w.Client.Command("dnsperf", "-s", f.address(w.rng).String(), "-p", fmt.Sprint(port),
				"-d", queries, "-n", "1000", "-c", "20", "-q", "50", "-e"))
			for _, want := range []string{"Queries completed:    4000 (100.00%)", "Queries lost:         0 (0.00%)"} {
				if !strings.Contains(out, want) {
					t.Errorf("%s port %d: dnsperf ended with %d and does not say %q:\n%.2000s%s", f.name, port, status, want, out, errs)
				}
			}
		}
	}
}

// TestSIPp makes calls to a SIP server behind the proxy, whose messages all come and go by one flow. There are never more at
// once than the buffers of its sockets hold after a pause.
func TestSIPp(t *testing.T) {
	netlab.RequireProgram(t, "sipp")
	w := newWorld(t)
	text := prefixes
	for _, f := range families {
		text += fmt.Sprintf("[[route]]\nprefix = [%q]\nupstream = [%q]\noffload = \"auto\"\n", f.prefix,
			netip.AddrPortFrom(f.upstream, 5060))
	}
	w.run(text)
	for _, f := range families {
		server, err := w.Upstream.Start("sipp", "-sn", "uas", "-i", bracketed(f.upstream), "-p", "5060", "-nostdin")
		w.must(err)
		w.waitBound(server, netip.AddrPortFrom(f.upstream, 5060))
		out, errs, status := runShort(t, w.Client.Command("sipp", "-sn", "uac", netip.AddrPortFrom(f.address(w.rng), 5060).String(),
			"-i", bracketed(f.client), "-m", "300", "-r", "100", "-l", "50", "-d", "100", "-nostdin", "-timeout", "15s", "-timeout_error"))
		if status != 0 {
			t.Errorf("%s: sipp ended with %d:\n%.3000s%s", f.name, status, out, errs)
		}
	}
}

// bracketed writes an address as it stands before a port.
func bracketed(a netip.Addr) string {
	if a.Is4() {
		return a.String()
	}
	return "[" + a.String() + "]"
}
