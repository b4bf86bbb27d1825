package upstream

import (
	"encoding/binary"
	"hash/fnv"
	"net/netip"
)

// Maglev hashing (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016, section
// 3.4): each endpoint walks a permutation of the table's slots that follows from its own address alone, and the
// endpoints take free slots in turn, those of less weight less often. The choice is a pure function of client,
// destination and configuration, so every node of an anycast set chooses alike; and when an endpoint goes, few of the
// other endpoints' clients move.

// maglevSlots is a prime, so that every skip visits every slot. Each endpoint gets its share of the slots to within two
// of them, those of one weight to within one: 40 endpoints to within 1 %, 256 to within 6 %. The size does not depend on
// the number of endpoints: a table of another one would send most clients elsewhere.
const maglevSlots = 4093

// maglevTable returns slot -> place.
func maglevTable(list []Endpoint, places []uint8) []uint8 {
	table := make([]uint8, maglevSlots)
	var taken [maglevSlots]bool
	heaviest := uint64(0)
	walks := make([]maglevWalk, len(places))
	for i, p := range places {
		walks[i] = newMaglevWalk(&list[p])
		heaviest = max(heaviest, walks[i].weight)
	}
	for i := range walks {
		walks[i].credit %= heaviest
	}
	for filled := 0; ; {
		for i := range walks {
			if !walks[i].isDue(heaviest) {
				continue
			}
			slot := walks[i].next()
			for taken[slot] {
				slot = walks[i].next()
			}
			table[slot], taken[slot] = places[i], true
			if filled++; filled == maglevSlots {
				return table
			}
		}
	}
}

// maglevWalk is one endpoint's permutation of the slots.
type maglevWalk struct {
	at, skip uint64
	weight   uint64
	credit   uint64 // towards the next slot; at first by chance, so that not all light endpoints are due in one round
}

func newMaglevWalk(e *Endpoint) maglevWalk {
	// The port is part of the identity: two processes on one host are two endpoints.
	var key [20]byte
	a := e.Addr.As16()
	copy(key[:], a[:])
	binary.BigEndian.PutUint16(key[16:], e.spec.Port)
	binary.BigEndian.PutUint16(key[18:], e.spec.Offset)
	h := fnv.New64a()
	h.Write(key[:]) // never fails
	sum := mix(h.Sum64())
	return maglevWalk{at: sum % maglevSlots, skip: mix(sum)%(maglevSlots-1) + 1, weight: e.weight(), credit: mix(mix(sum))}
}

// isDue reports whether the endpoint takes a slot in this round: the heaviest does in each.
func (w *maglevWalk) isDue(heaviest uint64) bool {
	if w.credit += w.weight; w.credit < heaviest {
		return false
	}
	w.credit -= heaviest
	return true
}

func (w *maglevWalk) next() uint64 {
	at := w.at
	w.at = (w.at + w.skip) % maglevSlots
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
