// Package proxy is the any-port proxy: it owns the sockets that traffic is steered to, the data planes that forward it
// and the routes in force.
//
// A packet's path: the kernel's sk_lookup program steers a new connection to the TCP listener, or a datagram to the
// UDP socket for clients; a data plane ([anyport/proxy/tcp], [anyport/proxy/udp]) asks the route table for the
// original destination, chooses an upstream and forwards. Replies of UDP upstreams come back to a second UDP socket,
// steered by the NAT address and port that they were sent from.
//
// The package knows nothing of BPF. Whoever runs a [Server] puts its sockets into the program's slots and gives it a
// Publish function that brings a compiled rule table into the kernel.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"sync"
	"syscall"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"anyport/conf"
	"anyport/conf/rule"
	"anyport/proxy/limit"
	"anyport/proxy/offload"
	"anyport/proxy/route"
	"anyport/proxy/sock"
	"anyport/proxy/stats"
	"anyport/proxy/tcp"
	"anyport/proxy/udp"
	"anyport/proxy/upstream"
)

// Home is the address that the steered sockets are bound to, each on a port of its own. An IPv4-mapped loopback
// address on an AF_INET6 socket is one that the kernel lets both families be steered to, and that nobody outside the
// host can reach (prog_sk_lookup.rst; inet_sk_assign in net/core/filter.c checks the family).
var Home = netip.MustParseAddrPort("[::ffff:127.0.0.1]:0")

var (
	errRunning   = errors.New("proxy runs already")
	errNoReplies = errors.New("replies to clients' addresses cannot be brought here")
	errNoService = errors.New("nothing can be steered to other services")
)

// Options is what a Server needs besides its configuration, all of it.
type Options struct {
	// Publish brings a rule table into the kernel, or changes nothing and returns an error. The server calls it from
	// Apply, and from Run whenever upstreams are reached from a new source address; never twice at a time.
	Publish func(*rule.Table) error
	Lookup  upstream.LookupFunc
	Logger  *slog.Logger

	// Assign has a service's TCP connections and UDP datagrams steered to sockets, in place of those that it had. It is
	// called like Publish, before a table leads to the service; where it is nil, routes with an mss are refused.
	Assign func(service uint16, listener, clients syscall.Conn) error

	// BringReplies makes exactly these the sources whose packets are local here, whatever their destination, or changes
	// nothing and returns an error. It is called like Publish; where it is nil, routes with the clients' addresses are
	// refused.
	BringReplies func([]ReturnPath) error
}

// Server is the proxy. Its methods are safe for concurrent use.
type Server struct {
	publish      func(*rule.Table) error
	assign       func(service uint16, listener, clients syscall.Conn) error
	bringReplies func([]ReturnPath) error
	names        *upstream.Names
	logger       *slog.Logger
	listener     *sock.Socket
	tcp          *tcp.Engine
	transmit     *offload.Transmit // nil: trains are cut
	transmitInfo TransmitInfo
	transmitAuto bool // trains give way to the packet filter
	udp          udpPlane
	registry     *stats.Registry
	pool         *upstream.Pool
	accessLog    *stats.AccessLog
	live         route.Live

	closing  sync.Once
	closeErr error         // of Close, once closing is done
	finished chan struct{} // closed when Run has returned

	mu        sync.Mutex // held while a generation is published; guards the fields below
	started   bool       // Run has been called
	closed    bool       // Close has been called
	current   *Generation
	sources   map[conf.UDPSource][][]rule.PortRange // of the UDP data plane: the ports each worker got; none is taken away
	steered   int                                   // so many of the sources are in the kernel's rules
	paths     map[heldPath]*upstream.Member         // return paths, and whose connections hold them
	idlePaths map[heldPath]bool                     // of the paths: those that nobody needed at the last look
	listeners listeners
}

// New opens the sockets and data planes for cfg's workers, limits and access log, which stay as they are for the
// server's life. It claims no traffic before Apply. It needs CAP_NET_RAW. The caller
// must call Close.
func New(cfg *conf.Config, opts Options) (*Server, error) {
	workers := cfg.Workers
	if workers == 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	if opts.BringReplies == nil {
		opts.BringReplies = func([]ReturnPath) error { return errNoReplies }
	}
	if opts.Assign == nil {
		opts.Assign = func(uint16, syscall.Conn, syscall.Conn) error { return errNoService }
	}
	s := &Server{
		publish:      opts.Publish,
		assign:       opts.Assign,
		bringReplies: opts.BringReplies,
		names:        upstream.NewNames(opts.Lookup, opts.Logger),
		logger:       opts.Logger,
		registry:     stats.NewRegistry(max(workers, cfg.UDPWorkers)),
		pool:         upstream.NewPool(opts.Logger),
		finished:     make(chan struct{}),
		paths:        make(map[heldPath]*upstream.Member),
		sources:      make(map[conf.UDPSource][][]rule.PortRange),
	}
	if err := s.open(cfg, workers); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Server) open(cfg *conf.Config, workers int) (err error) {
	if cfg.AccessLog != "" {
		if s.accessLog, err = stats.OpenAccessLog(cfg.AccessLog); err != nil {
			return err
		}
	}
	at := homesOf(cfg.TproxyPort)
	s.listeners = listeners{home: at.clients, byMSS: make(map[int]*mssListener)}
	if s.listener, err = sock.ListenTCP(at.clients); err != nil {
		return err
	}
	if err := at.prepare(s.listener); err != nil {
		return err
	}
	s.tcp, err = tcp.New(tcp.Options{Listener: s.listener, Workers: workers, Routes: &s.live, Stats: s.registry,
		AccessLog: s.accessLog, LogProgress: cfg.LogProgress, MaxConnections: cfg.MaxConnections,
		Sources: limit.NewSources(cfg.MaxPerSource, cfg.SourceBits4, cfg.SourceBits6), Logger: s.logger})
	if err != nil {
		return err
	}
	if err := s.openTransmit(cfg.UDPTransmit, cfg.UDPWorkers); err != nil {
		return err
	}
	s.udp, err = openUDPPlane(at, cfg.UDPWorkers, cfg.UDPReceiveBuffer, udp.Options{Transmit: s.transmit, Routes: &s.live,
		Stats: s.registry, AccessLog: s.accessLog, MaxFlows: cfg.MaxFlows, KeepFlows: cfg.KeepFlows,
		Sources: limit.NewSources(cfg.MaxFlowsPerSource, cfg.SourceBits4, cfg.SourceBits6), Logger: s.logger})
	return err
}

// Sockets returns the sockets to steer: TCP connections and UDP datagrams of clients to the first two, which are
// [conf.ServiceProxy], and datagrams of upstreams to those of the UDP workers, [conf.RepliesService]. With several
// workers, that for clients is one of a reuseport group. Other listeners are assigned by Apply.
func (s *Server) Sockets() (listener, clients syscall.Conn, replies []syscall.Conn) {
	for _, r := range s.udp.replies {
		replies = append(replies, r)
	}
	return s.listener, s.udp.clients[0], replies
}

// Stats returns the server's counters.
func (s *Server) Stats() *stats.Registry { return s.registry }

// Collector returns the counters for Prometheus.
func (s *Server) Collector() *stats.Collector {
	return &stats.Collector{Registry: s.registry, AccessLog: s.accessLog, KernelDrops: s.udp.kernelDrops}
}

// UpstreamCollectors returns what is known of the upstreams and of their DNS names for Prometheus.
func (s *Server) UpstreamCollectors() []prometheus.Collector {
	return []prometheus.Collector{s.pool, s.names}
}

// Run forwards until ctx is done, which is like Stop, until Stop or a finished Drain, or until a data plane fails; it
// then stops the other one and returns the error. Meanwhile it keeps the upstreams fresh. It runs once; on a server
// that has been stopped it returns nil at once.
func (s *Server) Run(ctx context.Context) error {
	if run, err := s.start(); !run {
		return err
	}
	defer close(s.finished)
	return s.forward(ctx, append(s.udp.runs(), s.tcp.Run)...)
}

// forward runs data planes and what serves them.
func (s *Server) forward(ctx context.Context, runs ...func() error) error {
	planes, ctx := errgroup.WithContext(ctx)
	for _, run := range runs {
		planes.Go(func() error { return unlessClosed(run()) })
	}
	var aside errgroup.Group
	aside.Go(func() error { s.refreshLoop(ctx); return nil })
	aside.Go(func() error { s.pool.Run(ctx); return nil })
	aside.Go(func() error { s.settleLoop(ctx); return nil })
	aside.Go(func() error { s.followLoop(ctx); return nil })
	aside.Go(func() error { return s.stopAfter(ctx) })
	if s.transmit != nil && s.transmitAuto {
		aside.Go(func() error { s.transmit.Watch(ctx); return nil })
	}
	err := planes.Wait() // ends ctx
	return errors.Join(err, aside.Wait())
}

// start reports whether Run is to run.
func (s *Server) start() (run bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return false, nil
	case s.started:
		return false, errRunning
	}
	s.started = true
	return true, nil
}

// unlessClosed turns the error of a data plane that was stopped before it ran into nil.
func unlessClosed(err error) error {
	if errors.Is(err, tcp.ErrClosed) || errors.Is(err, udp.ErrClosed) {
		return nil
	}
	return err
}

// stopAfter stops the data planes when ctx is done.
func (s *Server) stopAfter(ctx context.Context) error {
	<-ctx.Done()
	return s.Stop()
}

// Stop ends every connection and flow at once, as Drained, and waits until the data planes forward nothing any more. A
// second call does nothing.
func (s *Server) Stop() error {
	var errs []error
	if s.tcp != nil {
		errs = append(errs, s.tcp.Close())
	}
	return errors.Join(append(errs, s.udp.stop())...)
}

// Drain takes no new connection or flow and waits until the open ones have ended; then Run returns. When ctx is done
// first, it closes the rest with reason Drained and returns ctx's error.
func (s *Server) Drain(ctx context.Context) error {
	var planes errgroup.Group
	planes.Go(func() error { return s.tcp.Drain(ctx) })
	planes.Go(func() error { return s.udp.drain(ctx) })
	return planes.Wait()
}

// ReopenAccessLog opens the access log's path again, after a rotation. It must not be called after Close.
func (s *Server) ReopenAccessLog() error { return s.accessLog.Reopen() }

// AccessLogLost returns how many lines the access log has lost.
func (s *Server) AccessLogLost() uint64 { return s.accessLog.Lost() }

// Close stops the server, waits for Run to return, and closes the sockets and the access log. A second call does
// nothing and returns what the first did.
func (s *Server) Close() error {
	s.closing.Do(func() {
		if err := s.release(); err != nil {
			s.closeErr = fmt.Errorf("close proxy: %w", err)
		}
	})
	return s.closeErr
}

func (s *Server) release() error {
	s.mu.Lock()
	s.closed = true
	running := s.started
	s.mu.Unlock()
	errs := []error{s.Stop()}
	if running {
		<-s.finished
	}
	if s.transmit != nil {
		errs = append(errs, s.transmit.Close())
	}
	if s.listener != nil {
		errs = append(errs, s.listener.Close())
	}
	errs = append(errs, s.listeners.close(), s.udp.closeSockets())
	s.accessLog.Close()
	return errors.Join(errs...)
}
