package upstream

import (
	"encoding/binary"
	"hash/fnv"
	"net/netip"
)

// Maglev hashing (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016, section
// 3.4): each endpoint walks a permutation of the table's slots that follows from its own address alone, and the
// endpoints take free slots in turn. The choice is a pure function of client, destination and configuration, so every
// node of an anycast set chooses alike; and when an endpoint goes, few of the other endpoints' clients move.

// maglevSizes are primes, so that every skip visits every slot. The paper wants a table at least 100 times as long as
// the number of endpoints, which keeps the largest share within 1 % of the smallest.
var maglevSizes = []int{251, 1021, 4093, 16381, 65521}

const maglevPerEndpoint = 100

// maglevTable returns slot -> index into list.
func maglevTable(list []Endpoint) []uint16 {
	table := make([]uint16, maglevSize(len(list)))
	taken := make([]bool, len(table))
	walks := make([]maglevWalk, len(list))
	for i, e := range list {
		walks[i] = newMaglevWalk(e, len(table))
	}
	for filled := 0; ; {
		for i := range walks {
			slot := walks[i].next()
			for taken[slot] {
				slot = walks[i].next()
			}
			table[slot], taken[slot] = uint16(i), true
			if filled++; filled == len(table) {
				return table
			}
		}
	}
}

func maglevSize(endpoints int) int {
	for _, size := range maglevSizes {
		if size >= endpoints*maglevPerEndpoint {
			return size
		}
	}
	return maglevSizes[len(maglevSizes)-1]
}

// maglevWalk is one endpoint's permutation of the slots.
type maglevWalk struct {
	at, skip, size uint64
}

func newMaglevWalk(e Endpoint, size int) maglevWalk {
	// The port is part of the identity: two processes on one host are two endpoints.
	var key [20]byte
	a := e.Addr.As16()
	copy(key[:], a[:])
	binary.BigEndian.PutUint16(key[16:], e.spec.Port)
	binary.BigEndian.PutUint16(key[18:], e.spec.Offset)
	h := fnv.New64a()
	h.Write(key[:]) // never fails
	sum := mix(h.Sum64())
	m := uint64(size)
	return maglevWalk{at: sum % m, skip: mix(sum)%(m-1) + 1, size: m}
}

func (w *maglevWalk) next() uint64 {
	at := w.at
	w.at = (w.at + w.skip) % w.size
	return at
}

// hashPair hashes a client and an original destination. It is fixed for good: two nodes that run different versions
// must agree.
func hashPair(client, dst netip.AddrPort) uint64 {
	c, d := client.Addr().As16(), dst.Addr().As16()
	h := uint64(client.Port())<<16 | uint64(dst.Port())
	for _, half := range [...][]byte{c[:8], c[8:], d[:8], d[8:]} {
		h = mix(h ^ binary.LittleEndian.Uint64(half))
	}
	return h
}

// mix is the finaliser of SplitMix64 (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA
// 2014): every input bit reaches every output bit.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
