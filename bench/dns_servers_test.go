package bench

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"anyport/bench/netlab"
)

// TestDNSServersAnswer starts every server of the suite with its configuration and checks answers on all of its
// addresses: one that is wrong would look fast.
func TestDNSServersAnswer(t *testing.T) {
	lab := netlab.New(t)
	netlab.RequireProgram(t, "nsd", "knotd", "named", "pdns_server", "chrt", "taskset")
	s := &dnsRun{session: &session{lab: lab, rng: rand.New(rand.NewPCG(1, 1))}, dir: t.TempDir()}
	bin := t.TempDir()
	if err := netlab.MakeBinaries(bin); err != nil {
		t.Fatal(err)
	}
	zone, err := s.writeZone(dnsOrigin, func(f *os.File) error { return writeDNSZone(f) })
	if err != nil {
		t.Fatal(err)
	}
	for _, server := range dnsServers(filepath.Join(bin, "anyport"), filepath.Join(bin, "anyport-bench")) {
		t.Run(server.name, func(t *testing.T) {
			b, err := newDNSBed(lab, &server, zone)
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := b.close(); err != nil {
					t.Error(err)
				}
			}()
			if err := s.ready(b, len(dnsFamilyNames)); err != nil {
				t.Fatal(err)
			}
			for family, g := range b.generators {
				if server.whole[0] && !server.whole[family] {
					continue // it is not asked there
				}
				if c, err := g.run(100 * time.Millisecond); err != nil || c.right == 0 || c.wrong > 0 {
					t.Errorf("%s: %+v, %v", dnsFamilyNames[family], c, err)
				}
			}
		})
	}
}
