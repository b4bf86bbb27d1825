// Package dns is an authoritative name server that answers on every address of a prefix through one UDP and one TCP
// socket, which sk_lookup steers queries to.
//
// A query's path: a UDP worker reads a batch of packets (udp.go, batch.go); package answer turns each into a response,
// from zones that package zone compiled when their files were read; package ratelimit may hold it back; the batch
// leaves, every response from the address that was asked (RFC 2181 section 4). Over TCP the same happens on a
// connection (tcp.go, stream.go). reload.go puts changed zones in force between two batches. The UDP workers share
// nothing but the socket, the zones and the limiter, and allocate nothing.
//
// Where each standard lives:
//
//	RFC 1034, 1035   names, zones, the algorithm     answer/resolve.go, zone/find.go, wire/
//	RFC 2181         RRsets, TTLs, truncation        zone/pack.go, answer/message.go; reply addresses: batch.go
//	RFC 2308         negative answers                answer/negative.go
//	RFC 4592         wildcards                       zone/find.go, zone/build.go
//	RFC 4892         version.bind, hostname.bind     answer/chaos.go
//	RFC 5001         NSID                            answer/edns.go
//	RFC 6672         DNAME                           answer/dname.go
//	RFC 6891         EDNS                            wire/edns.go, answer/edns.go
//	RFC 7766         TCP                             tcp.go, stream.go
//	RFC 7873, 9018   cookies                         cookie/
//	RFC 8482         ANY                             zone/rrset.go
//	RFC 9471         glue                            answer/additional.go
//	RFC 9619         one question                    wire/query.go
//
// Not here: zone transfers, dynamic update, signing, views. Records of signed zones are served as plain data.
package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"anyport/proxy/dns/answer"
	"anyport/proxy/dns/ratelimit"
	"anyport/proxy/dns/zone"
	"anyport/proxy/sock"
)

// ErrNoZones is returned by New if not one zone could be read.
var ErrNoZones = errors.New("no zone was loaded")

// Server is a name server. Its methods may be called from any goroutine; Run once.
type Server struct {
	options Options
	config  answer.Config
	limiter *ratelimit.Limiter // nil: none
	log     *queryLog          // nil: none
	stats   *Stats
	udp     *sock.Socket
	tcp     *net.TCPListener
	port    uint16 // the UDP socket's own: replies from any other need a raw socket
	zones   atomic.Pointer[zone.Zones]
	streams *streams
	workers []*udpWorker
	writers sync.Pool // of *writer, for TCP

	started  atomic.Bool
	halted   sync.Once
	stop     chan struct{} // closed when Run is to end
	cut      atomic.Bool   // Run is to end at once
	finished chan struct{} // closed when Run has ended

	mu     sync.Mutex // guards the field below
	keeper *zone.Keeper
}

// New reads the zones and opens the sockets; it does not answer yet. Zone files with faults are logged and left out;
// if not one zone could be read, the error matches ErrNoZones. The caller calls Close.
func New(o Options) (*Server, error) {
	o = o.withDefaults()
	s := &Server{
		options: o, config: o.answers(), limiter: ratelimit.New(o.RateLimit), stats: newStats(o.Workers),
		streams: newStreams(o.MaxTCP, o.MaxClient), stop: make(chan struct{}), finished: make(chan struct{}),
		keeper: zone.NewKeeper(o.Zones),
	}
	s.writers.New = s.newWriter
	err := s.Reload()
	if len(s.zones.Load().List()) == 0 {
		return nil, errors.Join(ErrNoZones, err)
	}
	if err != nil {
		o.Logger.Error("some zones are not served", "error", err)
	}
	if o.LogEvery > 0 {
		s.log = newQueryLog(o.Logger, o.LogEvery)
	}
	if err := s.listen(); err != nil {
		return nil, err
	}
	return s, nil
}

// UDP returns the socket to steer UDP to.
func (s *Server) UDP() syscall.Conn { return s.udp }

// TCP returns the listener to steer TCP to.
func (s *Server) TCP() syscall.Conn { return s.tcp }

// Zones returns the zones in force, not to be changed.
func (s *Server) Zones() []*zone.Zone { return s.zones.Load().List() }

// Run answers until Drain or Close is called, and then returns nil, also if that was before. It returns an error only
// if a socket fails for good.
func (s *Server) Run() error {
	s.started.Store(true)
	defer close(s.finished)
	var g errgroup.Group
	for _, w := range s.workers {
		g.Go(func() error { return s.haltOn(w.serve()) })
	}
	g.Go(func() error { return s.haltOn(s.acceptTCP(s.tcp.AcceptTCP)) })
	g.Go(s.watch)
	if s.log != nil {
		g.Go(func() error { return s.log.run(s.stop) })
	}
	err := g.Wait()
	s.streams.wait()
	return err
}

// haltOn makes the other goroutines of Run end when one has failed.
func (s *Server) haltOn(err error) error {
	if err != nil {
		s.halt()
	}
	return err
}

// halt makes Run end: no connection is accepted any more, those that are open end with the query at hand, and the UDP
// workers answer what has arrived.
func (s *Server) halt() {
	s.halted.Do(func() {
		close(s.stop)
		// On an unconnected UDP socket shutdown(2) says ENOTCONN, but wakes its readers all the same, and they still
		// read what is there (inet_shutdown in net/ipv4/af_inet.c, Linux 6.18).
		_ = unix.Shutdown(s.udp.FD(), unix.SHUT_RD)
		_ = s.tcp.Close()
		s.streams.halt()
	})
}

// Drain makes Run end, and waits until all that was asked is answered or ctx is done. Take the sockets out of steering
// first. Close is still to be called.
func (s *Server) Drain(ctx context.Context) error {
	s.halt()
	if !s.started.Load() {
		return nil
	}
	select {
	case <-s.finished:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("drain DNS server: %w", ctx.Err())
	}
}

// Close makes Run end at once, waits for it, and closes the sockets.
func (s *Server) Close() error {
	s.cut.Store(true)
	s.halt()
	s.streams.close()
	if s.started.Load() {
		<-s.finished
	}
	s.closeWorkers()
	return s.udp.Close()
}

func (s *Server) closeWorkers() {
	for _, w := range s.workers {
		w.close()
	}
}
