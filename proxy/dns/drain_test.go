package dns

import (
	"context"
	"io"
	"net"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"

	"anyport/bench/netlab"
)

// Drain answers what has arrived, ends waiting connections, and then Run returns.
func TestDrain(t *testing.T) {
	s, err := New(Options{Home: loopback, Zones: []string{writeZone(t, t.TempDir(), "example.test.zone", exampleZone)}})
	must(t, err)
	client, err := net.Dial("udp", s.udpAddress())
	must(t, err)
	defer client.Close()
	const queries = 200
	packet, err := question("www.example.test.", dns.TypeA).Pack()
	must(t, err)
	for range queries { // nobody answers yet: they wait in the socket
		_, err := client.Write(packet)
		must(t, err)
	}
	idle := dial(t, s.tcpAddress())
	ended := make(chan error, 1)
	go func() { ended <- s.Run() }()
	netlab.Eventually(t, "the connection to be accepted", func() bool { return s.Snapshot().TCPOpen == 1 })
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	must(t, s.Drain(ctx))
	must(t, <-ended)
	if n := s.Snapshot(); n.Responses["NOERROR"] != queries || n.TCPOpen != 0 {
		t.Errorf("%d responses, %d connections", n.Responses["NOERROR"], n.TCPOpen)
	}
	if _, err := io.ReadAll(idle); isTimeout(err) {
		t.Error("the idle connection is still open")
	}
	must(t, s.Close())
}

// A drain that would take too long ends with its context; Close then cuts off what is left.
func TestDrainTimeout(t *testing.T) {
	s := start(t, Options{})
	c := dial(t, s.tcpAddress())
	must(t, c.(*net.TCPConn).SetReadBuffer(4096))
	// More responses than both ends buffer, and nobody reads them: the server is stuck in a write.
	query := framed(t, question("big.example.test.", dns.TypeTXT))
	stuck := make(chan struct{})
	go func() {
		defer close(stuck)
		for {
			if _, err := c.Write(query); err != nil {
				return
			}
		}
	}()
	before, still := uint64(0), 0
	netlab.Eventually(t, "the server to be stuck", func() bool {
		now := s.Snapshot().Transports["tcp4"]
		if still++; now == 0 || now != before {
			still = 0
		}
		before = now
		return still == 20
	})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Drain(ctx); err == nil {
		t.Error("drained")
	}
	must(t, s.Close())
	<-stuck
}

// Close may come before Run, or at the same time.
func TestCloseMeetsRun(t *testing.T) {
	zones := []string{writeZone(t, t.TempDir(), "example.test.zone", exampleZone)}
	for i := range 40 {
		s, err := New(Options{Home: loopback, Zones: zones})
		must(t, err)
		ended := make(chan error, 1)
		if i%2 == 0 {
			must(t, s.Close())
		}
		go func() { ended <- s.Run() }()
		must(t, s.Close())
		must(t, <-ended)
	}
}

// Queries that are asked while zones are reloaded are all answered, from the old zone or the new one, and a faulty file
// changes nothing.
func TestReloadUnderLoad(t *testing.T) {
	dir := t.TempDir()
	version := func(v string) string { return exampleZone + "version TXT \"" + v + "\"\n" }
	const broken = "3\"\nhost A nonsense \""
	writeZone(t, dir, "example.test.zone", version("0"))
	s := start(t, Options{Zones: []string{dir + "/*.zone"}, Poll: -1})
	var stop atomic.Bool
	lost := make(chan error, 1)
	go func() { lost <- askUntil(&stop, s.udpAddress()) }()
	for range 20 {
		for _, v := range []string{"1", "2", broken} {
			writeZone(t, dir, "example.test.zone", version(v))
			if err := s.Reload(); (err != nil) != (v == broken) {
				t.Errorf("version %q: %v", v, err)
			}
		}
	}
	stop.Store(true)
	must(t, <-lost)
	m := exchange(t, "udp", s.udpAddress(), question("version.example.test.", dns.TypeTXT))
	if len(m.Answer) != 1 || m.Answer[0].(*dns.TXT).Txt[0] != "2" {
		t.Errorf("%v", m)
	}
}

// askUntil asks one query after the other and returns an error if one has no answer.
func askUntil(stop *atomic.Bool, server string) error {
	c := dns.Client{Timeout: patience}
	for !stop.Load() {
		m, _, err := c.Exchange(question("version.example.test.", dns.TypeTXT), server)
		if err != nil {
			return err
		}
		if len(m.Answer) != 1 {
			return dns.ErrRdata
		}
	}
	return nil
}

// A changed file is noticed without being told, and a new one too.
func TestWatch(t *testing.T) {
	dir := t.TempDir()
	writeZone(t, dir, "example.test.zone", exampleZone)
	s := start(t, Options{Zones: []string{dir + "/*.zone"}, Poll: 1}) // as often as it can
	writeZone(t, dir, "new.test.zone", "@ 60 SOA ns h 1 2 3 4 5\n@ 60 NS ns\n")
	netlab.Eventually(t, "the new zone", func() bool {
		return exchange(t, "udp", s.udpAddress(), question("new.test.", dns.TypeSOA)).Rcode == dns.RcodeSuccess
	})
}
