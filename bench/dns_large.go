package bench

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"time"
)

// The large zone: as many names with one address of each family.
const (
	largeOrigin = "large.test."
	largeNames  = 500_000
)

func writeLargeZone(f *os.File) error {
	w := bufio.NewWriter(f)
	fmt.Fprint(w, "$ORIGIN "+largeOrigin+"\n$TTL 3600\n@ SOA ns hostmaster 1 7200 3600 604800 300\n")
	fmt.Fprint(w, "@ NS ns\nns A 192.0.2.1\n")
	for i := range largeNames {
		fmt.Fprintf(w, "name%d A %s\nname%d AAAA %s\n", i, hostA(i), i, hostAAAA(i))
	}
	return w.Flush()
}

// dnsLoad is what loading the large zone took.
type dnsLoad struct {
	took      time.Duration // from the start of the program to the first answer
	now, peak int64         // bytes
}

var dnsLoadViews = []struct {
	name, unit string
	value      func(dnsLoad) float64
}{
	{"time from start to first answer", "ms", func(l dnsLoad) float64 { return float64(l.took.Milliseconds()) }},
	{"memory then", "MiB", func(l dnsLoad) float64 { return float64(l.now) / (1 << 20) }},
	{"peak memory", "MiB", func(l dnsLoad) float64 { return float64(l.peak) / (1 << 20) }},
}

// large returns the works of loading the large zone.
func (s *dnsSuite) large(servers []dnsServer) ([]Work, error) {
	s.options.Progress.Step("dns: writing a zone of %d records", 2*largeNames)
	zone, err := s.writeZone(largeOrigin, writeLargeZone)
	if err != nil {
		return nil, err
	}
	works := make([]Work, len(dnsLoadViews))
	for i, v := range dnsLoadViews {
		works[i] = Work{
			Name: "zone of 1,000,000 records: " + v.name, Unit: v.unit,
			References: []string{servers[0].name}, Control: servers[1].name,
		}
	}
	for i := range servers {
		if server := &servers[i]; server.loads {
			if err := s.addLarge(works, server, zone); err != nil {
				return nil, err
			}
		}
	}
	return works, nil
}

func (s *dnsSuite) addLarge(works []Work, server *dnsServer, zone dnsZone) error {
	b, err := newDNSBed(s.lab, server, zone)
	s.beds = append(s.beds, b)
	if err != nil {
		return err
	}
	last := new(dnsLoad)
	for i, v := range dnsLoadViews {
		measure := func() (Sample, error) { return Sample{Value: v.value(*last)}, nil }
		if i == 0 {
			measure = func() (_ Sample, err error) {
				*last, err = b.load()
				return Sample{Value: v.value(*last)}, err
			}
		}
		works[i].Subjects = append(works[i].Subjects, Subject{Name: server.name, Measure: measure})
	}
	return nil
}

// load starts the server, looks, and stops it.
func (b *dnsBed) load() (l dnsLoad, err error) {
	start := time.Now()
	if err := b.start(); err != nil {
		return l, errors.Join(err, b.stop())
	}
	l.took = time.Since(start)
	l.now, l.peak = memoryOf(b.pids)
	return l, b.stop()
}
