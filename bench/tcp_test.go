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
func newProxySession(t testing.TB) (*session, proxyPrograms) {
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

// TestIdleConnections has every proxy hold the connections of that work. Afterwards none must have them in TIME_WAIT.
func TestIdleConnections(t *testing.T) {
	netlab.RequireProgram(t, "haproxy", "nginx", "taskset", "iptables-nft", "ip6tables-nft", "ip", "ss")
	s, programs := newProxySession(t)
	beds, err := s.tcpBeds(t.Context(), programs, false)
	if err != nil {
		t.Fatal(err)
	}
	beds = idleBeds(beds)
	if len(beds) != 5 { // anyport twice, HAProxy, nginx, io.Copy
		t.Errorf("%d subjects, left out: %v", len(beds), s.leftOut)
	}
	w := tcpIdle[0].on(beds, haproxyName, proxyFamilies[0], 0)
	for i, b := range beds {
		sample, err := w.measure(i)
		if err != nil {
			t.Error(err)
			continue
		}
		if v := sample.Values; v[0] <= 0 || v[1] <= 0 || v[2] < 2 || b.subject.name == anyportName && v[2] != 2 {
			t.Errorf("%s: %v B, %v B, %v descriptors", b.subject.name, v[0], v[1], v[2])
		}
		if n := waiting(t, b.Proxy); n > idleConnections/10 {
			t.Errorf("%s keeps %d connections in TIME_WAIT", b.subject.name, n)
		}
	}
}

// TestFailureTellsItsReasonLast has a proxy end at once: what it printed comes first.
func TestFailureTellsItsReasonLast(t *testing.T) {
	netlab.RequireProgram(t, "sh", "taskset")
	s, programs := newProxySession(t)
	broken := proxySubject{name: "broken", prepare: prepareLocal,
		command: func(*proxyBed) []string { return []string{"sh", "-c", "echo its own words"} }}
	_, err := s.proxyBeds(t.Context(), []proxySubject{broken}, proxyLine{
		self: programs.self, upstream: tcpUpstream, ready: (*proxyBed).readyTCP})
	const want = "broken printed:\nits own words\nbroken: it has ended instead of forwarding"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// waiting returns how many connections of a namespace are in TIME_WAIT.
func waiting(t *testing.T, ns *netlab.Namespace) int {
	t.Helper()
	out, err := ns.Command("ss", "-Htan", "state", "time-wait").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(out), "\n")
}

// delivered reports whether a sample tells of traffic that came through whole. Requests at a fixed rate are lost where
// the machine is too busy for that rate.
func delivered(w Work, s Sample, err error) bool {
	return err == nil && s.Errors == 0 && (s.Lost == 0 || strings.Contains(w.Name, "a second")) &&
		len(s.Values) == len(w.Figures) && s.Values[0] > 0
}
