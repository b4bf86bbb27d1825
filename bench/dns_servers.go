package bench

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"anyport/bench/netlab"
)

// The prefixes of the dns suite, and the addresses in them that servers with an address of their own have.
var (
	dnsPrefixes = []netip.Prefix{netip.MustParsePrefix("198.18.0.0/20"), netip.MustParsePrefix("2001:db8:53::/64")}
	dnsOwn      = []netip.Addr{netip.MustParseAddr("198.18.0.1"), netip.MustParseAddr("2001:db8:53::1")}
)

// dnsAddresses is how many addresses of each prefix are asked.
const dnsAddresses = 4096

// dnsServer is a name server and how it is run, with its fastest settings: one worker, no log, no rate limit.
type dnsServer struct {
	name    string
	program string // whose Debian package is pkg; "" for this project's own
	pkg     string
	config  func(z dnsZone) string
	command func(config string, z dnsZone) []string
	// whole reports whether it answers on the whole prefix of IPv4 (false: on dnsOwn alone) and of IPv6.
	whole  [2]bool
	routes bool // it makes the prefixes local by itself
	loads  bool // it takes part in loading the large zone
}

// dnsZone is what a server serves: a file in a folder that it may write to.
type dnsZone struct{ dir, origin, file string }

func (z dnsZone) name() string { return strings.TrimSuffix(z.origin, ".") }

// The servers that others are compared with.
const (
	nsdName     = "NSD"
	anyportName = "anyport"
)

// dnsServers returns the servers; anyport and stock are the command lines of the two that this project brings.
func dnsServers(anyport, self string) []dnsServer {
	nsd := dnsServer{name: nsdName, program: "nsd", pkg: "nsd", config: nsdConfig(dnsOwn), loads: true,
		command: func(config string, _ dnsZone) []string { return []string{"nsd", "-d", "-c", config} }}
	again, minimal, many := nsd, nsd, nsd
	again.name = nsdName + " again"
	minimal.loads, many.loads = false, false
	minimal.name, minimal.config = nsdName+", minimal responses", minimalNSD
	many.name, many.config, many.whole = nsdName+", 4,096 addresses", nsdConfig(wholePrefix(0)), [2]bool{true, false}
	return []dnsServer{
		nsd, again, minimal, many,
		{name: anyportName, config: anyportConfig, whole: [2]bool{true, true}, routes: true, loads: true,
			command: func(config string, _ dnsZone) []string { return []string{anyport, "run", "-c", config} }},
		{name: "Knot", program: "knotd", pkg: "knot", config: knotConfig, loads: true,
			command: func(config string, _ dnsZone) []string { return []string{"knotd", "-c", config} }},
		{name: "BIND", program: "named", pkg: "bind9", config: bindConfig,
			command: func(config string, _ dnsZone) []string { return []string{"named", "-f", "-n", "1", "-c", config} }},
		{name: "PowerDNS", program: "pdns_server", pkg: "pdns-server and pdns-backend-bind", config: pdnsConfig,
			command: func(_ string, z dnsZone) []string { return []string{"pdns_server", "--config-dir=" + z.dir} }},
		{name: "miekg/dns", config: func(dnsZone) string { return "" },
			command: func(_ string, z dnsZone) []string {
				return []string{self, stockDNS, z.file, dnsOwn[0].String(), dnsOwn[1].String()}
			}},
	}
}

// withReference puts the server that the others are compared with first, and its control behind it: NSD, or anyport
// where there is no NSD.
func withReference(servers []dnsServer) []dnsServer {
	if servers[0].name == nsdName {
		return servers
	}
	i := slices.IndexFunc(servers, func(s dnsServer) bool { return s.name == anyportName })
	own, again := servers[i], servers[i]
	again.name += " again"
	return slices.Concat([]dnsServer{own, again}, servers[:i], servers[i+1:])
}

// missing says which program the server lacks, or "".
func (s *dnsServer) missing() string {
	if s.program == "" {
		return ""
	}
	return missingProgram(s.program, s.pkg)
}

// addresses returns which addresses of a prefix the server is asked on.
func (s *dnsServer) addresses(family int) []netip.Addr {
	if s.whole[family] {
		return wholePrefix(family)
	}
	return dnsOwn[family : family+1]
}

func wholePrefix(family int) []netip.Addr {
	list := make([]netip.Addr, 0, dnsAddresses)
	for a := dnsPrefixes[family].Addr(); len(list) < dnsAddresses; a = a.Next() {
		list = append(list, a)
	}
	return list
}

// write writes the server's configuration and returns its path.
func (s *dnsServer) write(z dnsZone) (string, error) {
	name := "server.conf"
	if s.program == "pdns_server" {
		name = "pdns.conf" // the only one that it takes
	}
	path := filepath.Join(z.dir, name)
	return path, os.WriteFile(path, []byte(s.config(z)), 0o644)
}

func anyportConfig(z dnsZone) string {
	return fmt.Sprintf("prefixes = [%q, %q]\n[[dns]]\nzones = [%q]\n", dnsPrefixes[0], dnsPrefixes[1], z.file)
}

// nsdConfig turns off NSD's rate limit, which is on in Debian's build.
func nsdConfig(addresses []netip.Addr) func(dnsZone) string {
	return func(z dnsZone) string {
		var b strings.Builder
		fmt.Fprintf(&b, "server:\n")
		for _, a := range addresses {
			fmt.Fprintf(&b, "\tip-address: %s\n", a)
		}
		fmt.Fprintf(&b, `	ip-freebind: yes
	server-count: 1
	reuseport: yes
	username: ""
	chroot: ""
	database: ""
	zonesdir: "%[1]s"
	pidfile: "%[1]s/nsd.pid"
	xfrdfile: "%[1]s/xfrd.state"
	zonelistfile: "%[1]s/zone.list"
	xfrdir: "%[1]s"
	logfile: "%[1]s/nsd.log"
	rrl-ratelimit: 0
	verbosity: 0
	receive-buffer-size: 4194304
	send-buffer-size: 4194304
remote-control:
	control-enable: no
zone:
	name: %[2]s
	zonefile: "%[3]s"
`, z.dir, z.origin, z.file)
		return b.String()
	}
}

func minimalNSD(z dnsZone) string {
	return strings.Replace(nsdConfig(dnsOwn)(z), "server:\n", "server:\n\tminimal-responses: yes\n", 1)
}

func knotConfig(z dnsZone) string {
	return fmt.Sprintf(`server:
    rundir: "%[1]s"
    listen: [%[4]s@53, %[5]s@53]
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
database:
    storage: "%[1]s/knotdb"
log:
  - target: stderr
    any: error
zone:
  - domain: %[2]s
    file: "%[3]s"
    zonefile-sync: -1
    journal-content: none
    semantic-checks: off
`, z.dir, z.origin, z.file, dnsOwn[0], dnsOwn[1])
}

func bindConfig(z dnsZone) string {
	return fmt.Sprintf(`options {
	directory "%[1]s";
	listen-on { %[4]s; };
	listen-on-v6 { %[5]s; };
	pid-file none;
	session-keyfile none;
	recursion no;
	dnssec-validation no;
	minimal-responses yes;
	querylog no;
	notify no;
};
controls { };
logging { category default { null; }; };
zone "%[2]s" { type primary; file "%[3]s"; };
`, z.dir, z.name(), z.file, dnsOwn[0], dnsOwn[1])
}

func pdnsConfig(z dnsZone) string {
	zones := filepath.Join(z.dir, "named.conf")
	// What cannot be written shows when the server does not find it.
	_ = os.WriteFile(zones, fmt.Appendf(nil, "zone %q { type master; file %q; };\n", z.name(), z.file), 0o644)
	return fmt.Sprintf(`launch=bind
bind-config=%s
%slocal-address=%s, %s
socket-dir=%s
receiver-threads=1
distributor-threads=1
loglevel=0
disable-syslog=yes
zone-cache-refresh-interval=0
cache-ttl=3600
query-cache-ttl=3600
negquery-cache-ttl=3600
setuid=
setgid=
`, zones, pdnsModules(), dnsOwn[0], dnsOwn[1], z.dir)
}

// pdnsModules tells PowerDNS where its modules are if it was unpacked instead of installed.
func pdnsModules() string {
	command, err := netlab.FindProgram("pdns_server")
	if err != nil {
		return ""
	}
	root := filepath.Dir(filepath.Dir(command[len(command)-1]))
	if found, _ := filepath.Glob(filepath.Join(root, "lib", "*", "pdns")); len(found) > 0 {
		return "module-dir=" + found[0] + "\n"
	}
	return ""
}
