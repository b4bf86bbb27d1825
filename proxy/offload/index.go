package offload

import (
	"math/bits"
	"sync/atomic"

	"anyport/bpf"
)

// index leads from the addresses of a packet to a half of a flow (bpf/flows.h). The program reads it at any time, so a
// place changes by one store, and a half that moves to another place may be missed for a moment, when its packet goes to
// the sockets.
type index struct {
	buckets []bpf.OffloadBucket
	flows   []bpf.OffloadFlow
	seed    uint64
}

// PLACE_BITS of bpf/flows.h, and what they make of a place.
const (
	placeBits = 22
	halfMask  = 1<<placeBits - 1
)

// bucketsFor returns how many buckets n flows have: a power of two, with which a bucket gets at most four halves on
// average. Not one flow in a million then finds one full.
func bucketsFor(n int) uint32 { return 1 << bits.Len(uint(n-1)/2) }

// halfOf returns a half by its number: twice the slot, and one more for the way out.
func halfOf(flows []bpf.OffloadFlow, half uint32) *bpf.OffloadHalf {
	if half%2 == 0 {
		return &flows[half/2].In
	}
	return &flows[half/2].Out
}

// hashOf is hash_of in bpf/find.h.
func hashOf(t *bpf.OffloadTuple, seed uint64) uint64 {
	mix := func(hash uint64, high, low uint32) uint64 {
		hash = (hash ^ (uint64(high)<<32 | uint64(low))) * 0x9e3779b97f4a7c15
		return hash ^ hash>>32
	}
	hash := seed
	for _, ip := range []*bpf.OffloadIpAddress{&t.Source, &t.Destination} {
		hash = mix(hash, ip.Word[0], ip.Word[1])
		hash = mix(hash, ip.Word[2], ip.Word[3])
	}
	hash = mix(hash, uint32(t.SourcePort), uint32(t.DestinationPort))
	return mix(hash, 0, 0)
}

// locate returns a half's bucket, and what its place there says.
func (x *index) locate(half uint32) (b *bpf.OffloadBucket, place uint32) {
	hash := hashOf(&halfOf(x.flows, half).From, x.seed)
	return &x.buckets[uint32(hash>>32)&uint32(len(x.buckets)-1)], uint32(hash)<<placeBits | (half + 1)
}

// add adds a half, which may be there already. It returns false where the bucket is full, or another half has the same
// addresses.
func (x *index) add(half uint32) bool {
	b, place := x.locate(half)
	for i := range b.Place {
		switch other := b.Place[i]; {
		case other == place:
			return true
		case other == 0:
			atomic.StoreUint32(&b.Place[i], place)
			return true
		case halfOf(x.flows, other&halfMask-1).From == halfOf(x.flows, half).From:
			return false
		}
	}
	return false
}

// remove takes a half out, if it is there.
func (x *index) remove(half uint32) {
	b, place := x.locate(half)
	for i := range b.Place {
		if b.Place[i] == place {
			removeAt(b, i)
			return
		}
	}
}

// removeAt frees a place, and fills it with the last one, so that the places in use stay together.
func removeAt(b *bpf.OffloadBucket, i int) {
	last := i
	for last+1 < len(b.Place) && b.Place[last+1] != 0 {
		last++
	}
	if last != i {
		atomic.StoreUint32(&b.Place[i], b.Place[last])
	}
	atomic.StoreUint32(&b.Place[last], 0)
}

// tidy takes out what a process that was killed has left half done: places of flows that are gone, and second places.
func (x *index) tidy() {
	for n := range x.buckets {
		b := &x.buckets[n]
		for i := len(b.Place) - 1; i >= 0; i-- {
			if b.Place[i] != 0 && !x.leads(b, i) {
				removeAt(b, i)
			}
		}
	}
}

// leads reports whether a place of a bucket is the first one there of a half that belongs there.
func (x *index) leads(b *bpf.OffloadBucket, i int) bool {
	half := b.Place[i]&halfMask - 1
	if half/2 >= uint32(len(x.flows)) || halfOf(x.flows, half).Generation == 0 {
		return false
	}
	for _, earlier := range b.Place[:i] {
		if earlier == b.Place[i] {
			return false
		}
	}
	home, place := x.locate(half)
	return home == b && place == b.Place[i]
}
