package limit

import (
	"hash/maphash"
	"net/netip"
	"sync"
)

// Sources bounds how many connections or flows each network of sources has open at once. A network is in the table
// only while it has something open, so there are never more of them than things open: what bounds those bounds the
// table, and nothing is ever forgotten or counted to the wrong network. A nil Sources admits everything.
type Sources struct {
	most   uint32
	bits   [2]int // of a network's prefix, IPv4 and IPv6
	seed   maphash.Seed
	shards [numShards]shard
}

// numShards lets as many cores count at once without waiting for each other, mostly.
const numShards = 64

// shard is the networks that hash to one part of the table.
type shard struct {
	mu    sync.Mutex // guards the field below
	table table
	_     [64]byte // keep the next shard off this one's last cache line
}

// NewSources returns a Sources that admits at most so many of a network at once, or nil, for no limit, if most is 0.
// Addresses are of one network if they agree in their first bits4 or bits6 bits, which are 0 to 32 and 0 to 128.
func NewSources(most, bits4, bits6 int) *Sources {
	if most <= 0 {
		return nil
	}
	return &Sources{most: uint32(most), bits: [2]int{bits4, bits6}, seed: maphash.MakeSeed()}
}

// Enter admits one more from the network of src, unless the most are open already. Each success needs a Leave with an
// address of the same network.
func (s *Sources) Enter(src netip.Addr) bool {
	if s == nil {
		return true
	}
	key := s.network(src)
	sh, hash := s.shard(&key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	e := sh.table.at(&key, hash)
	if e.open >= s.most {
		return false
	}
	e.open++
	if e.open == 1 {
		sh.table.added()
	}
	return true
}

// Leave takes one out that Enter has admitted. For a network that has nothing open it does nothing.
func (s *Sources) Leave(src netip.Addr) {
	if s == nil {
		return
	}
	key := s.network(src)
	sh, hash := s.shard(&key)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	e := sh.table.at(&key, hash)
	if e.open == 0 {
		return
	}
	e.open--
	if e.open == 0 {
		sh.table.remove(e)
	}
}

// Networks returns how many networks have something open.
func (s *Sources) Networks() (n int) {
	if s == nil {
		return 0
	}
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		n += sh.table.used
		sh.mu.Unlock()
	}
	return n
}

// network returns the first address of the network that src belongs to, IPv4-mapped for IPv4.
func (s *Sources) network(src netip.Addr) (key [16]byte) {
	src = src.Unmap()
	keep := s.bits[1]
	if src.Is4() {
		keep = 96 + s.bits[0]
	}
	whole := src.As16()
	n := copy(key[:], whole[:keep/8])
	if rest := keep % 8; rest != 0 {
		key[n] = whole[n] & (0xff << (8 - rest))
	}
	return key
}

// shard returns where a network is counted, and its hash within that shard.
func (s *Sources) shard(key *[16]byte) (*shard, uint32) {
	hash := maphash.Bytes(s.seed, key[:])
	return &s.shards[hash>>32%numShards], uint32(hash)
}
