package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"strings"
)

// The subjects of the udp suite that others are compared with.
const (
	socketsName = "anyport, sockets"
	cappedName  = socketsName + ", at its cap"
	nginxName   = "nginx"
	bareName    = "bare sockets"
)

// udpSettings are what subjects of anyport differ in.
type udpSettings struct {
	offload   string
	addresses int    // NAT addresses of each family
	flows     int    // at most
	onceIdle  string // the idle timeout of flows of one datagram

	tproxyPort int // 0: sk_lookup steers
	workers    int
}

// usualUDP has flows and NAT ports enough for all works of both families at once. cappedUDP is at its cap once it has been filled; it needs more
// ports, because one rests before it is used again.
var (
	usualUDP  = udpSettings{offload: "off", addresses: 2, flows: 240_000, onceIdle: "1s", workers: 1}
	cappedUDP = udpSettings{offload: "off", addresses: 4, flows: manyCount, onceIdle: "1h", workers: 1}
)

// udpSubjects returns the subjects in the order of the tables.
func udpSubjects(p proxyPrograms) []proxySubject {
	nft := map[string]string{"nft": "nftables"}
	redirected := maps.Clone(nft)
	maps.Copy(redirected, nginxPrograms)
	anyport := func(name string, settings udpSettings) proxySubject {
		s := anyportSubject(name, p.anyport, func(b *proxyBed) string { return anyportUDPConfig(b, settings) })
		s.prepare = prepareNAT
		return s
	}
	offload := usualUDP
	offload.offload = "auto"
	offloaded := anyport("anyport, offloaded", offload)
	offloaded.detect = noOffload
	offloaded.establishes = 2 // the second is the third datagram of the flow, at which the kernel takes it over
	transparent := usualUDP
	transparent.tproxyPort = steerPort
	behindTPROXY := anyport(socketsName+", behind TPROXY", transparent)
	behindTPROXY.needs, behindTPROXY.prepare = tproxyPrograms, prepareTransparentUDP
	twoWorkers := usualUDP
	twoWorkers.workers = proxyThreads
	capped := anyport(cappedName, cappedUDP)
	capped.onceOnly, capped.capped = true, true
	nginx := proxySubject{name: nginxName, needs: nginxPrograms, prepare: prepareLocal, command: nginxCommand, perFlow: true,
		config: func(b *proxyBed) string { return nginxUDPConfig(b, dialledAddress, "proxy_timeout 1s") }}
	ending := nginx
	ending.name, ending.onceOnly = nginxName+", one response a flow", true
	ending.config = func(b *proxyBed) string { return nginxUDPConfig(b, dialledAddress, "proxy_responses 1") }
	return []proxySubject{
		anyport(socketsName, usualUDP),
		anyport(socketsName+againSuffix, usualUDP),
		anyport(socketsName+", two workers", twoWorkers),
		capped,
		behindTPROXY,
		offloaded,
		nginx,
		ending,
		{name: nginxName + " behind an nft redirect", needs: redirected, prepare: prepareRedirect, command: nginxCommand,
			config: func(b *proxyBed) string { return nginxUDPConfig(b, redirectedAddress, "proxy_timeout 1s") }, perFlow: true},
		{name: "goroutine pairs", prepare: prepareLocal, perFlow: true,
			command: func(*proxyBed) []string { return udpProxyCommand(p.self, udpCopyProxy) }},
		{name: bareName, prepare: prepareLocal,
			command: func(*proxyBed) []string { return udpProxyCommand(p.self, udpBareProxy) }},
		{name: "kernel DNAT", needs: nft, prepare: prepareDNAT},
		{name: routerName, prepare: prepareRouter},
	}
}

// prepareNAT gives the proxy more addresses towards the upstream.
func prepareNAT(b *proxyBed) error {
	var errs []error
	for _, f := range proxyFamilies {
		for _, addr := range f.nat {
			errs = append(errs, b.Proxy.AddAddr("upstream0", netip.PrefixFrom(addr, addr.BitLen())))
		}
	}
	return errors.Join(errs...)
}

// prepareTransparentUDP has rules for what comes to the NAT addresses, too.
func prepareTransparentUDP(b *proxyBed) error {
	errs := []error{prepareNAT(b), prepareTransparent(b)}
	for i, program := range []string{"iptables-nft", "ip6tables-nft"} {
		for _, addr := range proxyFamilies[i].nat[:usualUDP.addresses] {
			rule := fmt.Sprintf("-w -t mangle -A PREROUTING -p udp -d %s -j TPROXY --on-port %d --tproxy-mark %s",
				addr, steerPort+1, tproxyMark)
			errs = append(errs, runIn(b.Proxy, "", program, strings.Fields(rule)...))
		}
	}
	return errors.Join(errs...)
}

// anyportUDPConfig has flows of one datagram end soon, and the others last as long as the suite.
func anyportUDPConfig(b *proxyBed, u udpSettings) string {
	var sources []string
	for _, f := range proxyFamilies {
		for _, addr := range f.nat[:u.addresses] {
			sources = append(sources, fmt.Sprintf("%q", netip.AddrPortFrom(addr, 1024).String()+"-65535"))
		}
	}
	global := fmt.Sprintf("max_flows = %d\ntproxy_port = %d\nudp_workers = %d\nudp_sources = [%s]\n",
		u.flows, u.tproxyPort, u.workers, strings.Join(sources, ", "))
	more := fmt.Sprintf("protocol = \"udp\"\noffload = %q\nidle_timeout = ", u.offload)
	text := anyportConfigOf(b, global, more+"\"1h\"\n")
	for _, f := range proxyFamilies {
		text += fmt.Sprintf("\n[[route]]\nname = \"%s-once\"\nprefix = [%q]\nports = \"%d\"\nupstream = [%q]\n%s%q\n",
			f.name, f.prefix, udpOncePort, f.upstream, more, u.onceIdle)
	}
	return text
}

// noOffload says why the kernel does not forward flows, or "".
func noOffload(b *proxyBed) string {
	out, err := b.Proxy.Command(b.subject.command(b)[0], "status", "--json").Output()
	if err != nil {
		return fmt.Sprintf("anyport status: %v", err)
	}
	var status struct {
		Daemon struct {
			Offload *struct {
				On  bool   `json:"on"`
				Why string `json:"why"`
			} `json:"offload"`
		} `json:"daemon"`
	}
	switch err := json.Unmarshal(out, &status); {
	case err != nil:
		return fmt.Sprintf("anyport status: %v", err)
	case status.Daemon.Offload == nil:
		return "this version of anyport cannot offload"
	case !status.Daemon.Offload.On:
		return status.Daemon.Offload.Why
	}
	return ""
}

func dialledAddress(f *proxyFamily) netip.Addr { return f.dialled }

// redirectedAddress is where a redirect leads: to the proxy's own address on the client's link.
func redirectedAddress(f *proxyFamily) netip.Addr { return f.towardsClient }

// nginxUDPConfig has nginx listen on an address of each family, and end flows of one datagram by a directive.
func nginxUDPConfig(b *proxyBed, listen func(*proxyFamily) netip.Addr, once string) string {
	var servers strings.Builder
	for _, f := range proxyFamilies {
		for _, port := range udpPorts {
			end := ""
			if port == udpOncePort {
				end = " " + once + ";"
			}
			fmt.Fprintf(&servers, "\tserver { listen %s udp reuseport rcvbuf=%s; proxy_pass %s;%s }\n",
				addrPort(listen(&f), port), receiveMax(), addrPort(f.upstream, port), end)
		}
	}
	return nginxConfig(b, servers.String())
}

// receiveMax is the largest receive buffer that a socket may ask for.
func receiveMax() string { return firstLine("/proc/sys/net/core/rmem_max") }

// redirectRules make each port of the prefixes nginx's: a redirect needs connection tracking for the way back.
const redirectRules = `
table inet to_nginx {
	chain prerouting {
		type nat hook prerouting priority dstnat; policy accept;
		%s
	}
}
`

func prepareRedirect(b *proxyBed) error {
	var rules []string
	for _, f := range proxyFamilies {
		for _, port := range udpPorts {
			rules = append(rules, fmt.Sprintf("%s daddr %s udp dport %d redirect to :%d", ipKeyword(f), f.prefix, port, port))
		}
	}
	return errors.Join(runIn(b.Proxy, fmt.Sprintf(redirectRules, strings.Join(rules, "\n\t\t")), "nft", "-f", "-"),
		keepTracked(b))
}

func ipKeyword(f proxyFamily) string {
	if f.dialled.Is4() {
		return "ip"
	}
	return "ip6"
}

const dnatRules = `
table inet to_upstream {
	chain prerouting {
		type nat hook prerouting priority dstnat; policy accept;
		ip daddr %s dnat ip to %s
		ip6 daddr %s dnat ip6 to %s
	}
}
`

// prepareDNAT has the kernel translate addresses and track connections.
func prepareDNAT(b *proxyBed) error {
	v4, v6 := proxyFamilies[0], proxyFamilies[1]
	err := errors.Join(prepareForwarding(b),
		runIn(b.Proxy, fmt.Sprintf(dnatRules, v4.prefix, v4.upstream, v6.prefix, v6.upstream), "nft", "-f", "-"))
	if err != nil {
		return err
	}
	return keepTracked(b)
}

// keepTracked has tracked flows stay as long as the suite.
func keepTracked(b *proxyBed) error {
	return errors.Join(b.Proxy.Sysctl("net.netfilter.nf_conntrack_udp_timeout", "600"),
		b.Proxy.Sysctl("net.netfilter.nf_conntrack_udp_timeout_stream", "600"))
}

// udpProxyCommand gives every port of the udp suite to a helper that takes pairs of addresses.
func udpProxyCommand(self, helper string) []string {
	line := []string{self, helper}
	for _, f := range proxyFamilies {
		for _, port := range udpPorts {
			line = append(line, addrPort(f.dialled, port), addrPort(f.upstream, port))
		}
	}
	return line
}
