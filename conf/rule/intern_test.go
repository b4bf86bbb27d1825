package rule

import "testing"

// TestRunsOfOneHash stores runs that the hash does not tell apart.
func TestRunsOfOneHash(t *testing.T) {
	r := newRuns(&budget{}, "numbers", 100, func(uint32) uint64 { return 0 })
	var lists []List
	for i := range uint32(10) {
		l, found := r.add([]uint32{i, i + 1})
		if found {
			t.Fatalf("run %d was found before it was added", i)
		}
		lists = append(lists, l)
	}
	for i := range uint32(10) {
		if l, found := r.add([]uint32{i, i + 1}); !found || l != lists[i] || r.at(l)[0] != i {
			t.Errorf("run %d is at %v, was put at %v", i, l, lists[i])
		}
	}
}
