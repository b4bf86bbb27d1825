package offload

import (
	"math/bits"
	"math/rand/v2"
	"slices"
	"testing"

	"anyport/bpf"
)

// newIndex returns an index of free slots, and what random addresses are.
func newIndex(flows, buckets int) (*index, func() bpf.OffloadTuple) {
	x := &index{buckets: make([]bpf.OffloadBucket, buckets), flows: make([]bpf.OffloadFlow, flows), seed: rand.Uint64()}
	return x, func() (t bpf.OffloadTuple) {
		t.Source.Word[3], t.Destination.Word[0] = rand.Uint32(), rand.Uint32()
		t.SourcePort, t.DestinationPort = uint16(rand.Uint32()), uint16(rand.Uint32())
		return t
	}
}

// has looks for a half as the program does: up to the first free place.
func (x *index) has(half uint32) bool {
	b, place := x.locate(half)
	used, _, _ := cutPlaces(b)
	return slices.Contains(used, place)
}

// cutPlaces returns the places before the first free one, and after.
func cutPlaces(b *bpf.OffloadBucket) (used, free []uint32, clean bool) {
	n := slices.Index(b.Place[:], 0)
	if n < 0 {
		n = len(b.Place)
	}
	used, free = b.Place[:n], b.Place[n:]
	return used, free, !slices.ContainsFunc(free, func(p uint32) bool { return p != 0 })
}

// TestIndex adds and removes halves at random, in buckets that are often full, and compares with a set.
func TestIndex(t *testing.T) {
	const flows = 100
	x, random := newIndex(flows, 8)
	in := make(map[uint32]bool)
	full := 0
	for range 100_000 {
		half := rand.Uint32N(2 * flows)
		h := halfOf(x.flows, half)
		if in[half] {
			x.remove(half)
			h.Generation = 0
			delete(in, half)
		} else {
			h.From, h.Generation = random(), 1
			if in[half] = x.add(half); !in[half] {
				full++
				h.Generation = 0
				delete(in, half)
			}
		}
		if x.has(half) != in[half] {
			t.Fatalf("half %d is in: %v, want %v", half, x.has(half), in[half])
		}
	}
	if full == 0 {
		t.Error("no bucket was ever full")
	}
	for half := range uint32(2 * flows) {
		if x.has(half) != in[half] {
			t.Errorf("half %d is in: %v, want %v", half, x.has(half), in[half])
		}
	}
	before := slices.Clone(x.buckets)
	x.tidy()
	if !slices.Equal(x.buckets, before) {
		t.Error("there was something to tidy")
	}
	for i := range x.buckets {
		if _, _, clean := cutPlaces(&x.buckets[i]); !clean {
			t.Errorf("bucket %d has a place behind a free one: %v", i, x.buckets[i].Place)
		}
	}
}

// TestIndexRefuses adds a half twice, and another one of the same addresses.
func TestIndexRefuses(t *testing.T) {
	x, random := newIndex(2, 1)
	x.flows[0].In.From = random()
	x.flows[1].In.From = x.flows[0].In.From
	for range 2 {
		if !x.add(0) {
			t.Error("a half does not take its place")
		}
	}
	if x.add(2) {
		t.Error("another half takes a place of the same addresses")
	}
	if used, _, _ := cutPlaces(&x.buckets[0]); len(used) != 1 {
		t.Errorf("places are %v", used)
	}
}

// TestIndexIsTidied has an index as a process may leave it that is killed.
func TestIndexIsTidied(t *testing.T) {
	x, random := newIndex(4, 1)
	for half := range uint32(6) {
		h := halfOf(x.flows, half)
		h.From, h.Generation = random(), 1
		x.add(half)
	}
	b := &x.buckets[0]
	b.Place[6] = b.Place[2]          // it was about to move
	x.flows[2].In.Generation = 0     // half 4 is of a flow that is gone
	b.Place[7] = 9<<placeBits | 1000 // no such half
	b.Place[8] = b.Place[1] ^ 1<<31  // not by its hash
	want := []uint32{b.Place[0], b.Place[1], b.Place[2], b.Place[3], b.Place[5]}
	x.tidy()
	used, _, clean := cutPlaces(b)
	slices.Sort(used)
	slices.Sort(want)
	if !clean || !slices.Equal(used, want) {
		t.Errorf("places are %v, want %v", b.Place, want)
	}
}

// TestIndexHasRoom fills indexes of the size that tables have with addresses as they are: alike but for some bits.
func TestIndexHasRoom(t *testing.T) {
	for name, next := range map[string]func(t *bpf.OffloadTuple, n uint32){
		"source port":      func(t *bpf.OffloadTuple, n uint32) { t.SourcePort = swapPort(uint16(n)) },
		"destination port": func(t *bpf.OffloadTuple, n uint32) { t.DestinationPort = swapPort(uint16(n)) },
		"both ports": func(t *bpf.OffloadTuple, n uint32) {
			t.SourcePort, t.DestinationPort = swapPort(uint16(n)), swapPort(uint16(n))
		},
		"end of the source":      func(t *bpf.OffloadTuple, n uint32) { t.Source.Word[3] = bits.ReverseBytes32(n) },
		"end of the destination": func(t *bpf.OffloadTuple, n uint32) { t.Destination.Word[3] = bits.ReverseBytes32(n) },
		"network of the source":  func(t *bpf.OffloadTuple, n uint32) { t.Source.Word[1] = bits.ReverseBytes32(n << 8) },
		"high bits":              func(t *bpf.OffloadTuple, n uint32) { t.Destination.Word[2] = n << 16 },
	} {
		for _, flows := range []int{1, 10, 1 << 10, 1<<12 + 1, 1 << 15} {
			x, _ := newIndex(flows, int(bucketsFor(flows)))
			refused := 0
			for half := range uint32(2 * flows) {
				next(&halfOf(x.flows, half).From, half)
				if !x.add(half) {
					refused++
				}
			}
			if refused > 5 {
				t.Errorf("%s: %d halves of %d flows find no place", name, refused, flows)
			}
		}
	}
}
