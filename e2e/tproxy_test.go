package e2e

import (
	"testing"

	"anyport/bench/netlab"
)

// tproxyRules lead what the prefixes get to a port, and what a NAT address gets to the next one, as complete.toml says.
var tproxyRules = []struct {
	program string
	rules   [][]string
}{
	{"iptables-nft", [][]string{
		{"-p", "tcp", "-d", "198.18.0.0/20", "-j", "TPROXY", "--on-port", "4242"},
		{"-p", "udp", "-d", "198.18.0.0/20", "-j", "TPROXY", "--on-port", "4242"},
		{"-p", "udp", "-d", "10.2.0.1", "--dport", "10000:32767", "-j", "TPROXY", "--on-port", "4243"},
	}},
	{"ip6tables-nft", [][]string{
		{"-p", "tcp", "-d", "2001:db8::/48", "-j", "TPROXY", "--on-port", "4242"},
		{"-p", "udp", "-d", "2001:db8::/48", "-j", "TPROXY", "--on-port", "4242"},
		{"-p", "udp", "-d", "fd00:2::1", "--dport", "10000:32767", "-j", "TPROXY", "--on-port", "4243"},
	}},
}

// TestBehindTPROXY has the host's TPROXY rules bring what sk_lookup usually does: connections and datagrams, also
// fragmented ones, on random ports of both families' prefixes, over upstreams of both.
func TestBehindTPROXY(t *testing.T) {
	netlab.RequireRoot(t)
	netlab.RequireProgram(t, "iptables-nft", "ip6tables-nft")
	w := newWorld(t)
	w.upstreams(9000, echo)
	w.upstreams(9001, echoDestination)
	for _, family := range tproxyRules {
		for _, rule := range family.rules {
			args := append([]string{"-w", "-t", "mangle", "-A", "PREROUTING"}, rule...)
			if out, err := w.Proxy.Command(family.program, args...).CombinedOutput(); err != nil {
				t.Fatalf("%s %q: %v\n%s", family.program, args, err, out)
			}
		}
	}
	w.run("tproxy_port = 4242\n" + prefixes + `
[[route]]
name = "connections"
protocol = "tcp"
upstream = ["10.2.0.2:9001", "[fd00:2::2]:9001"]
balance = "round_robin"
proxy_protocol = "v2"
[[route]]
name = "datagrams-to-v4"
protocol = "udp"
prefix = ["2001:db8::/48"]
upstream = ["10.2.0.2:9000"]
[[route]]
name = "datagrams-to-v6"
protocol = "udp"
prefix = ["198.18.0.0/20"]
upstream = ["[fd00:2::2]:9000"]
`)
	if links := lookupLinks(t, w.Proxy.Inode()); len(links) > 0 {
		t.Errorf("an sk_lookup program is there: %q", links)
	}
	for _, f := range families {
		for range 20 {
			to := f.destination(w.rng)
			if err := tryEcho(w.Client, to, greetingOf(to), []byte("hello")); err != nil {
				t.Error(err)
			}
		}
		for _, size := range []int{0, 1, 1000, 1473, 8000, 65507} {
			checkDatagram(t, w, f.destination(w.rng), size)
		}
	}
}
