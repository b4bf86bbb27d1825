package rule_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"anyport/conf/rule"
)

// served holds the prefixes that the shapes below lie in.
var served = []rule.Prefix{
	{Prefix: netip.MustParsePrefix("198.0.0.0/8")},
	{Prefix: netip.MustParsePrefix("2001:db8::/32")},
}

func v4(n int) netip.Addr { return netip.AddrFrom4([4]byte{198, byte(n >> 16), byte(n >> 8), byte(n)}) }

func v6(n int) netip.Addr {
	return netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 0, byte(n >> 16), byte(n >> 8), byte(n)})
}

// perPrefix returns n rules of one port on a prefix of their own: half of them a /32, half a /64.
func perPrefix(n int) rule.Set {
	set := rule.Set{Prefixes: served}
	for i := range n {
		p := netip.PrefixFrom(v4(i), 32)
		if i%2 == 1 {
			p = netip.PrefixFrom(v6(i), 64)
		}
		set.Rules = append(set.Rules, rule.Rule{
			Name: fmt.Sprint(i), Prefixes: []netip.Prefix{p}, Ports: []rule.PortRange{{First: 443, Last: 443}},
			Verdict: rule.Steer, Fallback: rule.NoService,
		})
	}
	return set
}

// perPort returns n rules of a port of their own on one prefix.
func perPort(n int) rule.Set {
	set := rule.Set{Prefixes: served}
	for i := range n {
		port := uint16(1 + 3*i)
		set.Rules = append(set.Rules, rule.Rule{
			Name: fmt.Sprint(i), Ports: []rule.PortRange{{First: port, Last: port}},
			Protocol: []rule.Protocol{rule.Both, rule.TCP}[i%2], Verdict: rule.Steer, Fallback: rule.NoService,
		})
	}
	return set
}

// withFrom returns n rules on 100 prefixes, with ranges that overlap and four sources each.
func withFrom(n int) rule.Set {
	set := rule.Set{Prefixes: served}
	for i := range n {
		first := uint16(1 + (i/100)*97%60000)
		r := rule.Rule{
			Name: fmt.Sprint(i), Prefixes: []netip.Prefix{netip.PrefixFrom(v4(i%100<<8), 24)},
			Ports: []rule.PortRange{{First: first, Last: first + 300}}, Verdict: rule.Steer, Fallback: rule.NoService,
		}
		for j := range 4 {
			r.From = append(r.From, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 6), byte(i << 2), byte(j)}), 32))
		}
		set.Rules = append(set.Rules, r)
	}
	return set
}

// allowList returns 50 rules that share 1,000 sources, each rule on a prefix and port of its own.
func allowList() rule.Set {
	set := rule.Set{Prefixes: served}
	var from []netip.Prefix
	for i := range 1000 {
		from = append(from, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 24))
	}
	for i := range 50 {
		set.Rules = append(set.Rules, rule.Rule{
			Name: fmt.Sprint(i), Prefixes: []netip.Prefix{netip.PrefixFrom(v4(i<<8), 24)}, From: from,
			Ports: []rule.PortRange{{First: uint16(1000 + i), Last: uint16(2000 + i)}}, Verdict: rule.Steer,
		})
	}
	return set
}

func BenchmarkCompile(b *testing.B) {
	for _, shape := range []struct {
		name string
		set  rule.Set
	}{
		{"10k_prefixes", perPrefix(10_000)},
		{"10k_ports", perPort(10_000)},
		{"10k_on_100_prefixes_with_from", withFrom(10_000)},
		{"50_with_1000_sources", allowList()},
		{"400k_prefixes", perPrefix(400_000)},
	} {
		b.Run(shape.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := rule.Compile(shape.set); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkLookup(b *testing.B) {
	for _, shape := range []struct {
		name string
		set  rule.Set
	}{
		{"1_rule", perPrefix(1)},
		{"10k_prefixes", perPrefix(10_000)},
		{"10k_ports", perPort(10_000)},
		{"10k_on_100_prefixes_with_from", withFrom(10_000)},
		{"50_with_1000_sources", allowList()},
		{"400k_prefixes", perPrefix(400_000)},
	} {
		table, err := rule.Compile(shape.set)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(shape.name, func(b *testing.B) { benchmarkLookup(b, table, len(shape.set.Rules)) })
	}
}

// benchmarkLookup looks up random addresses among the first n of a shape, so that caches are as cold as the table is
// large.
func benchmarkLookup(b *testing.B, table *rule.Table, n int) {
	rng := rand.New(rand.NewPCG(1, 2))
	type packet struct {
		src netip.Addr
		dst netip.AddrPort
	}
	packets := make([]packet, 1<<16)
	for i := range packets {
		addr := v4(rng.IntN(n))
		if len(table.Sources) > 0 {
			addr = v4(rng.IntN(100 << 8))
		}
		src := netip.AddrFrom4([4]byte{10, byte(rng.IntN(160)), byte(rng.IntN(256)), byte(rng.IntN(4))})
		packets[i] = packet{src, netip.AddrPortFrom(addr, uint16(rng.IntN(65536)))}
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		p := &packets[i%len(packets)]
		table.Lookup(rule.TCP, p.src, p.dst)
		i++
	}
}
