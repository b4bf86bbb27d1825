package rule_test

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"anyport/conf/rule"
)

// parseSet reads a set as the tables of the tests write it. Each line is a served prefix,
//
//	serve 198.18.0.0/20 [open]
//
// or a rule, its name first, then what it matches and does; a rule steers to service 0 unless "do" says otherwise:
//
//	ssh tcp prefix=198.18.1.0/24 ports=22,2200-2299 from=198.51.100.0/24 do=refuse
func parseSet(t testing.TB, text string) rule.Set {
	t.Helper()
	var set rule.Set
	for line := range strings.Lines(text) {
		switch f := strings.Fields(line); {
		case len(f) == 0:
		case f[0] == "serve":
			set.Prefixes = append(set.Prefixes, rule.Prefix{Prefix: netip.MustParsePrefix(f[1]), Open: len(f) > 2})
		default:
			set.Rules = append(set.Rules, parseRule(t, f))
		}
	}
	return set
}

func parseRule(t testing.TB, fields []string) rule.Rule {
	t.Helper()
	r := rule.Rule{Name: fields[0], Verdict: rule.Steer, Fallback: rule.NoService}
	for _, f := range fields[1:] {
		key, value, _ := strings.Cut(f, "=")
		switch key {
		case "tcp":
			r.Protocol = rule.TCP
		case "udp":
			r.Protocol = rule.UDP
		case "prefix":
			r.Prefixes = parsePrefixes(value)
		case "from":
			r.From = parsePrefixes(value)
		case "ports":
			r.Ports = parsePorts(t, value)
		case "do":
			r.Verdict = map[string]rule.Verdict{"refuse": rule.Refuse, "pass": rule.Pass}[value]
		default:
			t.Fatalf("rule %s: %s?", r.Name, f)
		}
	}
	return r
}

func parsePrefixes(s string) []netip.Prefix {
	var list []netip.Prefix
	for p := range strings.SplitSeq(s, ",") {
		list = append(list, netip.MustParsePrefix(p))
	}
	return list
}

func parsePorts(t testing.TB, s string) []rule.PortRange {
	t.Helper()
	var list []rule.PortRange
	for p := range strings.SplitSeq(s, ",") {
		first, last, isRange := strings.Cut(p, "-")
		if !isRange {
			last = first
		}
		list = append(list, rule.PortRange{First: parsePort(t, first), Last: parsePort(t, last)})
	}
	return list
}

func parsePort(t testing.TB, s string) uint16 {
	t.Helper()
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	return uint16(n)
}

// mustCompile compiles a set as parseSet reads it.
func mustCompile(t testing.TB, text string) *rule.Table {
	t.Helper()
	table, err := rule.Compile(parseSet(t, text))
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// query is a packet and the name of the rule that shall win it: "198.18.1.7:22/tcp from 10.0.0.1 = ssh". Without "from"
// the source is 192.0.2.99 or 2001:db8:99::99.
type query string

// ask returns the name of the rule that won, and the one that should have.
func (q query) ask(t testing.TB, table *rule.Table) (got, want string) {
	t.Helper()
	p, src, dst, want := q.parse(t)
	return table.Set().RuleName(table.Lookup(p, src, dst).Rule), want
}

func (q query) parse(t testing.TB) (p rule.Protocol, src netip.Addr, dst netip.AddrPort, want string) {
	t.Helper()
	packet, want, _ := strings.Cut(string(q), " = ")
	packet, from, hasFrom := strings.Cut(packet, " from ")
	to, protocol, _ := strings.Cut(packet, "/")
	dst = netip.MustParseAddrPort(to)
	switch {
	case hasFrom:
		src = netip.MustParseAddr(from)
	case dst.Addr().Is4():
		src = netip.MustParseAddr("192.0.2.99")
	default:
		src = netip.MustParseAddr("2001:db8:99::99")
	}
	p, ok := map[string]rule.Protocol{"tcp": rule.TCP, "udp": rule.UDP}[protocol]
	if !ok {
		t.Fatalf("query %q names no protocol", q)
	}
	return p, src, dst, want
}

// describe is a short text for a set's prefix that may be missing.
func describe(p netip.Prefix) string {
	if !p.IsValid() {
		return "-"
	}
	return fmt.Sprint(p)
}
