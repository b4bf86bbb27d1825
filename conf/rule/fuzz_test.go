package rule_test

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"

	"anyport/conf/rule"
	"anyport/conf/rule/ruletest"
)

// byteSource feeds a generator from a fuzzer's bytes, then from a fixed seed.
type byteSource struct {
	data []byte
	rest rand.Source
}

func (s *byteSource) Uint64() uint64 {
	if len(s.data) < 8 {
		return s.rest.Uint64()
	}
	n := binary.LittleEndian.Uint64(s.data)
	s.data = s.data[8:]
	return n
}

// FuzzCompile lets a fuzzer choose the set, breaks it in one place at times, and checks that Compile either refuses it or
// decides as the linear match does.
func FuzzCompile(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(binary.LittleEndian.AppendUint64(nil, seed*0x9e3779b97f4a7c15))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		rng := rand.New(&byteSource{data: data, rest: rand.NewPCG(1, 2)})
		set := ruletest.Random(rng)
		if len(data)%2 == 1 {
			spoil(rng, &set)
		}
		table, err := rule.Compile(set)
		if err != nil {
			return
		}
		wins := make(map[string]int)
		for range 20 {
			checkPacket(t, rng, table, wins)
		}
		for range table.Effective() {
		}
		table.NeverMatch()
	})
}

// spoil changes one field of one rule into something that is likely wrong.
func spoil(rng *rand.Rand, set *rule.Set) {
	r := &set.Rules[rng.IntN(len(set.Rules))]
	switch rng.IntN(6) {
	case 0:
		r.Ports = append(r.Ports, rule.PortRange{First: uint16(rng.IntN(65536)), Last: uint16(rng.IntN(65536))})
	case 1:
		r.From = append(r.From, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 1, byte(rng.IntN(256)), 1}), rng.IntN(34)))
	case 2:
		r.Prefixes = append(r.Prefixes, netip.PrefixFrom(netip.IPv6Unspecified(), rng.IntN(130)))
	case 3:
		r.Protocol = rule.Protocol(rng.IntN(256))
	case 4:
		r.Name = set.Rules[0].Name
	case 5:
		p := netip.PrefixFrom(netip.IPv4Unspecified(), rng.IntN(33))
		set.Prefixes = append(set.Prefixes, rule.Prefix{Prefix: p})
	}
}
