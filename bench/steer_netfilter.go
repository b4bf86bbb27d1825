package bench

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"anyport/bench/netlab"
)

// The rule sets below are those of the kernel's Documentation/networking/tproxy.rst and of nft(8): a packet of a socket
// that exists is diverted to it before the TPROXY rule, which is for new connections and flows only. Without the first
// rule TPROXY would look slower than it is.

const (
	tproxyMark  = "1"
	tproxyTable = "100"
)

// policyRouting makes marked packets of one family local.
func policyRouting(ns *netlab.Namespace, v6 bool) error {
	family, everything := "-4", "0.0.0.0/0"
	if v6 {
		family, everything = "-6", "::/0"
	}
	if err := runIn(ns, "", "ip", family, "rule", "add", "fwmark", tproxyMark, "lookup", tproxyTable); err != nil {
		return err
	}
	return runIn(ns, "", "ip", family, "route", "add", "local", everything, "dev", "lo", "table", tproxyTable)
}

// prepareTproxy opens transparent sockets and sets policy routing.
func (b *steerBed) prepareTproxy(flows []flow) error {
	if err := policyRouting(b.server, b.family.served.Addr().Is6()); err != nil {
		return err
	}
	plan := socketPlan{homes: b.wildcard(), transparent: true}
	return b.server.Do(func() error { return b.openSockets(plan, flows) })
}

const nftRules = `
table inet steer {
	set served {
		type %[5]s; flags interval;
	}
	chain prerouting {
		type filter hook prerouting priority mangle; policy accept;
		meta l4proto { tcp, udp } socket transparent 1 socket wildcard 0 meta mark set %[1]s accept
		%[2]s daddr %[3]s meta l4proto { tcp, udp } tproxy %[2]s to :%[4]d meta mark set %[1]s accept
	}
}
`

// prepareNft matches the served prefix if n is 1, and else a set of n prefixes.
func prepareNft(n int) func(*steerBed, []flow) error {
	return func(b *steerBed, flows []flow) error {
		family, kind := "ip", "ipv4_addr"
		if b.family.served.Addr().Is6() {
			family, kind = "ip6", "ipv6_addr"
		}
		match, elements := b.family.served.String(), ""
		if n > 1 {
			match, elements = "@served", nftElements(b.family.parts(n))
		}
		rules := fmt.Sprintf(nftRules, tproxyMark, family, match, steerPort, kind) + elements
		if err := b.run(rules, "nft", "-f", "-"); err != nil {
			return err
		}
		return b.prepareTproxy(flows)
	}
}

func nftElements(prefixes []netip.Prefix) string {
	text := []byte("add element inet steer served { ")
	for _, p := range prefixes {
		text = append(p.AppendTo(text), ", "...)
	}
	return string(append(text, "}\n"...))
}

// iptablesPrograms are the programs of one of the two kinds of iptables, nft and legacy.
func iptablesPrograms(kind string) map[string]string {
	return map[string]string{"iptables-" + kind: "iptables", "ip6tables-" + kind: "iptables"}
}

func prepareIptables(kind string) func(*steerBed, []flow) error {
	return func(b *steerBed, flows []flow) error {
		program := "iptables-" + kind
		if b.family.served.Addr().Is6() {
			program = "ip6tables-" + kind
		}
		for _, rule := range iptablesRules(b.family.served.String()) {
			if err := b.run("", program, append([]string{"-w", "-t", "mangle"}, strings.Fields(rule)...)...); err != nil {
				return err
			}
		}
		return b.prepareTproxy(flows)
	}
}

func iptablesRules(served string) []string {
	rules := []string{"-N DIVERT", "-A DIVERT -j MARK --set-mark " + tproxyMark, "-A DIVERT -j ACCEPT"}
	for _, protocol := range []string{"tcp", "udp"} {
		rules = append(rules, "-A PREROUTING -p "+protocol+" -m socket --transparent -j DIVERT")
	}
	for _, protocol := range []string{"tcp", "udp"} {
		rules = append(rules, "-A PREROUTING -p "+protocol+" -d "+served+" -j TPROXY --on-port "+
			strconv.Itoa(steerPort)+" --tproxy-mark "+tproxyMark+"/"+tproxyMark)
	}
	return rules
}
