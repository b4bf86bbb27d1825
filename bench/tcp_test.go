package bench

import (
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"anyport/bench/netlab"
)

// newProxySession returns a session whose programs are built, for suites that compare proxies.
func newProxySession(t *testing.T) (*session, proxyPrograms) {
	t.Helper()
	s := &session{lab: netlab.New(t), rng: rand.New(rand.NewPCG(1, 1))}
	t.Cleanup(func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	})
	bin := t.TempDir()
	if err := netlab.MakeBinaries(bin); err != nil {
		t.Fatal(err)
	}
	return s, proxyPrograms{anyport: filepath.Join(bin, "anyport"), self: filepath.Join(bin, "anyport-bench")}
}

// TestTCPSubjectsDeliver starts every subject of the tcp suite and has each do every work in both families for a moment:
// one that loses or alters what it forwards would look fast.
func TestTCPSubjectsDeliver(t *testing.T) {
	netlab.RequireProgram(t, "haproxy", "nginx", "taskset", "iptables-nft", "ip6tables-nft", "ip")
	s, programs := newProxySession(t)
	beds, err := s.tcpBeds(t.Context(), programs, false)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(tcpSubjects(programs)); len(beds) != n {
		t.Errorf("%d subjects of %d, left out: %v", len(beds), n, s.leftOut)
	}
	for _, f := range proxyFamilies {
		for _, w := range tcpWorks(tcpTraffic, beds, f, 20*time.Millisecond) {
			for _, subject := range w.Subjects {
				sample, err := subject.Measure()
				if err != nil || sample.Errors > 0 || sample.Lost > 0 || len(sample.Values) != len(w.Figures) {
					t.Errorf("%s, %s: %+v, %v", w.Name, subject.Name, sample, err)
				}
			}
		}
	}
}
