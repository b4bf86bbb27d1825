package bench

import (
	"strings"
	"testing"
	"time"

	"anyport/bench/netlab"
)

// TestUDPSubjectsDeliver starts every subject of the udp suite and has each do every work in both families for a moment:
// one that loses or alters what it forwards would look fast.
func TestUDPSubjectsDeliver(t *testing.T) {
	netlab.RequireProgram(t, "nginx", "taskset", "nft")
	s, programs := newProxySession(t)
	beds, err := s.udpBeds(t.Context(), programs, 1000)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(udpSubjects(programs)); len(beds)+len(s.leftOut) != n {
		t.Errorf("%d subjects of %d, left out: %v", len(beds), n, s.leftOut)
	}
	for _, f := range proxyFamilies {
		for _, w := range udpWorks(beds, f, 20*time.Millisecond) {
			for _, subject := range w.Subjects {
				sample, err := subject.Measure()
				ours := strings.HasPrefix(subject.Name, anyportName) || subject.Name == routerName
				if err != nil || sample.Errors > 0 || sample.Lost > 0 && ours || len(sample.Values) != len(w.Figures) {
					t.Errorf("%s, %s: %+v, %v", w.Name, subject.Name, sample, err)
				}
			}
		}
	}
}
