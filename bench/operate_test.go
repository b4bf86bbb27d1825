package bench

import (
	"strings"
	"testing"

	"anyport/bench/netlab"
)

// TestOperations does every operation once on every subject. To change anyport's rules loses no connection.
func TestOperations(t *testing.T) {
	netlab.RequireProgram(t, "nft", "iptables-nft-restore", "taskset")
	s, programs := newProxySession(t)
	beds, err := s.operationBeds(t.Context(), programs)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(operationSubjects(programs)); len(beds) != n {
		t.Errorf("%d subjects of %d, left out: %v", len(beds), n, s.leftOut)
	}
	for _, w := range operationWorks(beds) {
		for _, subject := range w.Subjects {
			sample, err := subject.Measure()
			ours := strings.HasPrefix(subject.Name, anyportName) && strings.Contains(w.Name, "change")
			if err != nil || sample.Values[0] <= 0 || ours && sample.Lost > 0 {
				t.Errorf("%s, %s: %+v, %v", w.Name, subject.Name, sample, err)
			}
		}
	}
}
