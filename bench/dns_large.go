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

// dnsLoadFigures are those of a work that loads a zone.
var dnsLoadFigures = []Figure{
	{Name: "time from start to first answer", Unit: "ms"}, {Name: "memory then", Unit: "MiB"}, {Name: "peak memory", Unit: "MiB"},
}

func (l dnsLoad) sample() Sample {
	const mebibyte = 1 << 20
	return Sample{Values: []float64{float64(l.took.Milliseconds()), float64(l.now) / mebibyte, float64(l.peak) / mebibyte}}
}

// large returns the work of loading the large zone.
func (s *dnsRun) large(servers []dnsServer) ([]Work, error) {
	s.step("writing a zone of %d records", 2*largeNames)
	zone, err := s.writeZone(largeOrigin, writeLargeZone)
	if err != nil {
		return nil, err
	}
	work := Work{
		Name: "zone of 1,000,000 records", Per: "zone", Figures: dnsLoadFigures,
		References: []string{servers[0].name}, Control: servers[1].name,
	}
	for i := range servers {
		server := &servers[i]
		if !server.loads {
			continue
		}
		b, err := newDNSBed(s.lab, server, zone)
		s.onClose(b.close)
		if err != nil {
			return nil, err
		}
		work.Subjects = append(work.Subjects, Subject{Name: server.name, Measure: func() (Sample, error) {
			l, err := b.load()
			return l.sample(), err
		}})
	}
	return []Work{work}, nil
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
