package dns

import (
	"testing"
	"time"
)

// Every duration falls into one bucket, below its bound.
func TestHistogram(t *testing.T) {
	var h histogram
	for _, d := range []time.Duration{0, 1, 2047, 2048, 1 << 20, 1 << 40} {
		h.add(d, 2)
	}
	for i, want := range map[int]uint64{0: 6, 1: 2, 10: 2, numBuckets - 1: 2} {
		if got := h.buckets[i].Load(); got != want {
			t.Errorf("bucket %d (below %v): %d, want %d", i, bound(i), got, want)
		}
	}
	if got := h.nanos.Load(); got != 2*(1+2047+2048+1<<20+1<<40) {
		t.Errorf("sum %d", got)
	}
}

func TestTypeName(t *testing.T) {
	for kind, want := range map[uint16]string{1: "A", 257: "CAA", 0: "TYPE0", 254: "TYPE254", 65535: "TYPE65535"} {
		if got := TypeName(kind); got != want {
			t.Errorf("type %d is %s, want %s", kind, got, want)
		}
	}
}
