package e2e

import (
	"fmt"
	"strings"
	"testing"

	"anyport/bench/netlab"
)

// TestDNSByDig looks at what an operator looks at: the node's identifier, its version, its cookies, a truncated answer
// that dig asks for again over TCP, and the codes of a name that does not exist and of a zone that is not served.
func TestDNSByDig(t *testing.T) {
	netlab.RequireRoot(t)
	netlab.RequireProgram(t, "dig")
	w := newWorld(t)
	w.run(prefixes + fmt.Sprintf(`
[[dns]]
zones = [%q]
nsid = "fra1"
version = "a version"
cookie_secret = "e5e973e5a6b2a43f48e7dc849e37bfcf"
`, w.file("example.zone", zone())))
	for _, f := range families {
		for _, test := range []struct{ args, want string }{
			{"+nsid www.example A", `; NSID: 66 72 61 31 ("fra1")`},
			{"+short CH TXT version.bind", `"a version"`},
			{"+cookie www.example A", " (good)"},
			{"www.example AAAA", "status: NOERROR"},
			{"none.example A", "status: NXDOMAIN"},
			{"elsewhere.test A", "status: REFUSED"},
			{"example AXFR", "Transfer failed."},
			{"big.example TXT", "Truncated, retrying in TCP mode."},
			{"+edns=1 +noednsneg www.example A", "status: BADVERS"},
			{"+opcode=4 www.example A", "status: NOTIMP"},
		} {
			args := append([]string{"@" + f.address(w.rng).String(), "+tries=1"}, strings.Fields(test.args)...)
			out, errs, _ := runShort(t, w.Client.Command("dig", args...))
			if !strings.Contains(out, test.want) {
				t.Errorf("dig %q lacks %q:\n%s%s", args, test.want, out, errs)
			}
		}
	}
}

const unboundConfig = `server:
	directory: "%[1]s"
	username: ""
	chroot: ""
	pidfile: "%[1]s/unbound.pid"
	use-syslog: no
	do-daemonize: no
	interface: 127.0.0.1
	module-config: "iterator"
	num-threads: 1
	outgoing-range: 64
stub-zone:
	name: "example."
	stub-addr: 198.18.5.5
	stub-addr: 2001:db8:5::5
`

// TestDNSBehindResolver has an Unbound resolve names of the zone for dig.
func TestDNSBehindResolver(t *testing.T) {
	netlab.RequireRoot(t)
	netlab.RequireProgram(t, "unbound", "dig")
	w := newWorld(t)
	w.run(prefixes + fmt.Sprintf("[[dns]]\nzones = [%q]\n", w.file("example.zone", zone())))
	resolver, err := w.Client.Start("unbound", "-d", "-c", w.file("unbound.conf", fmt.Sprintf(unboundConfig, w.dir)))
	w.must(err)
	w.waitListening(w.Client, resolver, "127.0.0.1:53")
	for _, test := range []struct{ args, want string }{
		{"www.example A", "\t192.0.2.80\n"},
		{"www.example AAAA", "\t2001:db8:ffff::80\n"},
		{"none.example A", "status: NXDOMAIN"},
		{"www.example TXT", "status: NOERROR"},
		{"+tcp big.example TXT", "ANSWER: 16,"},
	} {
		out, errs, _ := runShort(t, w.Client.Command("dig", append([]string{"@127.0.0.1"}, strings.Fields(test.args)...)...))
		if !strings.Contains(out, test.want) {
			t.Errorf("dig %s by way of unbound lacks %q:\n%s%s\n%s", test.args, test.want, out, errs, resolver.Output())
		}
	}
}
