package bench

import (
	"math/rand/v2"
	"path/filepath"
	"strings"
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
		short := tcpWorks(tcpTraffic, beds, f, 20*time.Millisecond)
		long := tcpWorks(tcpTraffic, beds, f, 2*time.Second) // for what a busy machine does not get done in a moment
		for i, w := range short {
			for j, subject := range w.Subjects {
				sample, err := subject.Measure()
				if !delivered(w, sample, err) && sample.Errors == 0 {
					sample, err = long[i].Subjects[j].Measure()
				}
				if !delivered(w, sample, err) {
					t.Errorf("%s, %s: %+v, %v", w.Name, subject.Name, sample, err)
				}
			}
		}
	}
}

// delivered reports whether a sample tells of traffic that came through whole. Requests at a fixed rate are lost where
// the machine is too busy for that rate.
func delivered(w Work, s Sample, err error) bool {
	return err == nil && s.Errors == 0 && (s.Lost == 0 || strings.Contains(w.Name, "a second")) &&
		len(s.Values) == len(w.Figures) && s.Values[0] > 0
}
