// Package udp is the UDP data plane: it forwards the datagrams that are steered to one socket, whatever address and
// port they were meant for, to the upstreams of the routes that claim them, and the answers back.
//
// # A datagram's path
//
// There are two UDP sockets in all to receive with. Datagrams of clients are steered to the first. Their source and
// original destination name a flow; a new one asks the route table for its upstream and takes a free NAT port of the
// source address that leads there. The datagram goes on from that address and port through a raw socket ([sock.RawUDP]). The
// upstream's answer comes back to that NAT address and port, which are steered to the second socket, so that a flood
// from clients cannot crowd out replies. The NAT address and port are the flow's place in the table. If the answer
// comes from the flow's upstream, it leaves through a raw socket again, from the original destination to the client.
//
// A flow is a row in a table: it has no socket, no descriptor, no goroutine and no heap object, and to open one costs
// no system call. Because nothing is bound to the addresses that datagrams leave from, it does not matter which other
// daemons are. Datagrams of any size pass whole; the kernel joins and cuts fragments.
//
// # Trains
//
// Datagrams that a sender has given to its kernel as one (UDP_SEGMENT), or that the device has joined, are read as one.
// Where [offload.Transmit] has a way for them they leave as one, too: a train of 44 datagrams costs little more than a
// datagram. Elsewhere, and where they need a header each or are larger than the path allows, they are cut and go as
// single datagrams. These all take the raw socket, whatever the way for trains is: one call sends 64 of them.
//
// # Workers
//
// An Engine is one worker, whose one thread serves both directions in turn: with a thread for each, batches are smaller and
// memory goes from core to core, which took 1.2 times the CPU time for no more datagrams. Several of them share the clients' datagrams as a group of sockets ([sock.ListenUDPGroup]),
// which keeps a flow with one engine, and each has NAT ports of its own, by which replies find the engine of their flow.
// They share the limits, and what [Shared] holds.
//
// # NAT ports
//
// Ports are taken at random and rest for 2 s after their flow has ended, so that a late reply finds no flow rather than
// another client's.
//
// # How a flow ends
//
// A flow ends when no datagram has passed either way for the route's idle timeout, to the quarter of a second. At the
// limit of flows in total or of a route, or where NAT ports run short, one flow (at a route's limit: of that route) makes
// room for each new one: the one that has been idle longest, for 1 s at least, among those that have not carried a
// datagram of the client's after an answer; otherwise the one that has been idle longest, for 10 s at least, among all.
// At a limit they are looked for among the engine's own flows, and then among those of others that are not busy. If there
// is neither, or with [Options].KeepFlows, the new flow is refused. A source at its own limit always is. Every
// flow that began ends with one [stats.Reason], counted with its route and logged. A flow that was refused is counted
// with its route, not logged.
//
// # ICMP
//
// An ICMP error about a datagram to an upstream names the NAT address and port, but the kernel would report it on a
// socket without them. So raw sockets read these errors themselves, at most 1,000 a second. One that names an open flow
// and its upstream is passed on to the client, rewritten to be about the datagram that the client has sent, from the
// original destination. Unreachable ends the flow; too big does not, because the kernel cuts what follows to the path's
// MTU. The same is done with "too big" about a datagram to a client, of which the upstream is told. Where such an error may
// not find the way back, a route's max_datagram stands for the MTU.
//
// # Hand-over
//
// The flow table is data: [Export] writes it, with the NAT ports in quarantine, and the engines of the next process take it
// over by [Import]. There may be another number of them: a flow goes to the one that has its NAT port, and others leave its
// client's datagrams to that one.
//
// # Flows that others forward
//
// With an [Offloader], flows of routes that want it are given away after some datagrams: the kernel forwards them (package
// proxy/offload), and only what it leaves still comes here. The engine stays their owner: once a second, and before it
// ends or evicts one, it looks at what they have carried, counts and logs it. Their slots take 4 bytes for each NAT port.
//
// # Memory
//
// 80 bytes and 2 for each NAT port that was added, busy or not, and at most 20 for each flow of the maximum. 100,000
// flows on as many ports take 9.3 MB. Beside them 64 buffers of 64 KiB, 4 MiB once trains have filled them, and in the
// kernel what waits in two receive buffers, which ask for 4 MiB each.
package udp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"anyport/proxy/limit"
	"anyport/proxy/offload"
	"anyport/proxy/route"
	"anyport/proxy/sock"
	"anyport/proxy/stats"
)

// Options is what an Engine needs.
type Options struct {
	Clients   *sock.Socket      // from [sock.ListenUDP]: what clients send is steered here; the engine does not close it
	Replies   *sock.Socket      // another: what comes to NAT addresses and ports is steered here
	Transmit  *offload.Transmit // sends trains; the engine does not close it; nil: none, they are cut
	Routes    *route.Live       // asked for each new flow
	Stats     *stats.Registry
	Worker    int              // the engine's number among those of one proxy, in Stats and Transmit
	Shared    *Shared          // by the engines of one proxy; nil: the engine is the only one
	AccessLog *stats.AccessLog // nil: none
	MaxFlows  int              // at once, of all engines that share; at least 1
	Sources   *limit.Sources   // counts each source's flows; nil: no limit
	KeepFlows bool             // at a limit, refuse new flows rather than evict old ones
	Logger    *slog.Logger     // nil: none
}

// Engine is the UDP data plane. Its methods are safe for concurrent use.
type Engine struct {
	w       *worker
	stopped chan struct{} // closed when Run has returned

	mu       sync.Mutex // guards the fields below
	started  bool       // Run has been called
	released bool       // the worker's descriptors are closed
}

// ErrClosed is returned by Run on an engine that has been closed.
var ErrClosed = errors.New("engine is closed")

var errRunning = errors.New("engine runs already")

// New makes an engine, which needs CAP_NET_RAW. The caller must Close it, also if Run is never called. It opens no flow
// before AddSource has given it NAT ports.
func New(opts Options) (*Engine, error) {
	if opts.MaxFlows < 1 {
		return nil, fmt.Errorf("make UDP engine: room for %d flows", opts.MaxFlows)
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Shared == nil {
		opts.Shared = NewShared()
	}
	w, err := newWorker(&opts)
	if err != nil {
		return nil, fmt.Errorf("make UDP engine: %w", err)
	}
	opts.Shared.add(w)
	return &Engine{w: w, stopped: make(chan struct{})}, nil
}

// Run forwards datagrams until Close or the end of a Drain, when it returns nil. It returns ErrClosed if Close was
// first.
func (e *Engine) Run() error {
	if err := e.start(); err != nil {
		return fmt.Errorf("run UDP engine: %w", err)
	}
	defer close(e.stopped)
	if err := e.w.run(); err != nil {
		return fmt.Errorf("run UDP engine: %w", err)
	}
	return nil
}

func (e *Engine) start() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.released {
		return ErrClosed
	}
	if e.started {
		return errRunning
	}
	e.started = true
	return nil
}

// Drain refuses new flows, as Drained, and waits until the last one has ended. If ctx is done first, it ends the rest,
// as Drained, and returns ctx's error. Either way Run returns. On an engine that does not run it returns at once, and
// Run will.
func (e *Engine) Drain(ctx context.Context) error {
	if !e.tell(func(w *worker) { w.draining = true }) {
		return nil
	}
	select {
	case <-e.stopped:
		return nil
	case <-ctx.Done():
	}
	e.tell(func(w *worker) { w.stopping = true })
	<-e.stopped
	return ctx.Err()
}

// Close ends all flows at once, as Drained, waits for Run to return and frees what the engine holds. A second call does
// nothing.
func (e *Engine) Close() error {
	if e.tell(func(w *worker) { w.stopping = true }) {
		<-e.stopped
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.released {
		return nil
	}
	e.released = true
	if err := e.w.release(); err != nil {
		return fmt.Errorf("close UDP engine: %w", err)
	}
	return nil
}

// tell changes the worker's state and wakes it up. It reports whether Run has been called.
func (e *Engine) tell(change func(*worker)) (running bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.w.mu.Lock()
	change(e.w)
	e.w.mu.Unlock()
	if !e.released {
		e.w.wakeup.Signal()
	}
	return e.started
}

// Active returns how many flows there are.
func (e *Engine) Active() int {
	e.w.mu.Lock()
	defer e.w.mu.Unlock()
	return e.w.flows.open
}

// KernelDrops returns how many datagrams the kernel has dropped before they reached the engine, because a socket's
// receive buffer was full or a checksum was wrong: of clients and of upstreams, each modulo 2^32.
func (e *Engine) KernelDrops() (clients, replies uint64) {
	return uint64(e.w.clients.Drops()), uint64(e.w.replies.Drops())
}
