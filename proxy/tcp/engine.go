// Package tcp is the TCP data plane: it accepts the connections that are steered to a listener, whatever address and
// port they were meant for, and forwards each to an upstream of the route that claims its original destination. There is
// one listener for all that has to be alike before a connection is accepted: the MSS that clients are told.
//
// # A connection's path
//
// Each worker is an event loop on a thread of its own, with an epoll set, a slab of connections and a 64 KiB buffer.
// All share the listeners; the kernel wakes one for each arrival (EPOLLEXCLUSIVE), which hands the connection to another
// worker if that one clearly has fewer. The original destination is the accepted socket's own address. A sender that the
// route lists has to begin with a PROXY header, which names the client. The route names the upstream; a non-blocking
// connect is started, and further endpoints are tried as long as connecting fails. Until it succeeds the client's socket
// is left alone: what the client sends waits in the kernel, and that it has gone away is noticed when the connect ends.
// Then a PROXY header goes out if the route wants one, and data moves both ways.
//
// # How data moves
//
// Both sockets are watched edge-triggered, once, for everything. Data is read into the worker's buffer and written to
// the other socket at once. What that socket does not take goes into a pipe; the direction reads no more before the
// pipe is empty, so a reader that never reads costs one pipe and what the kernel's socket buffers hold. After two reads
// that filled the buffer a direction splices instead, through the same kind of pipe. Pipes are few and pooled: with
// none left, data is peeked at and taken from the socket only as far as it has been delivered.
//
// # How it ends
//
// A FIN is passed on once everything before it has been delivered, in the same packet if it can be, and the other direction goes on. A RST is passed on
// as a RST, behind whatever the peer sent before it: the other side gets the data that had arrived, as it would have
// without a proxy between. After a FIN from both sides a RST changes nothing. Timeouts, refusals and the end of a drain
// are a RST to both, because a FIN would say that the stream is complete. Every connection ends with one
// [stats.Reason], counted with its route and logged. Bytes are counted when the other side's socket has taken them.
//
// No goroutine and no heap object belongs to a connection: it is one slot of the slab, and the slab has no pointers.
package tcp

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"anyport/proxy/limit"
	"anyport/proxy/route"
	"anyport/proxy/sock"
	"anyport/proxy/stats"
)

// Options is what an Engine needs.
type Options struct {
	Listener       *sock.Socket     // from [sock.ListenTCP]; the engine does not close it. Listen adds others
	Workers        int              // at least 1
	Routes         *route.Live      // asked for each new connection
	Stats          *stats.Registry  // made for at least as many workers
	AccessLog      *stats.AccessLog // nil: none
	LogProgress    time.Duration    // between two lines of an open connection in the access log; 0: only one, at its end
	MaxConnections int              // at once; 0: no limit
	Sources        *limit.Sources   // counts each source's connections; nil: no limit
	Logger         *slog.Logger     // nil: none
}

// Engine is the TCP data plane. Its methods are safe for concurrent use.
type Engine struct {
	options Options
	epoch   time.Time
	bound   int // that the descriptors of connections stay below
	workers []*worker
	active  atomic.Int64  // connections accepted and not ended
	phase   atomic.Int32  // of type phase; it only grows
	settled chan struct{} // gets a value when active falls to 0 in a drain
	stopped chan struct{} // closed when no worker runs any more

	mu        sync.Mutex // guards the fields below
	started   bool       // Run has been called, or Close has come first
	released  bool       // the workers' descriptors are closed
	lastKey   uint64     // of a listener
	listeners []*listener
}

// ErrClosed is returned by Run on an engine that has been closed.
var ErrClosed = errors.New("engine is closed")

var errRunning = errors.New("engine runs already")

// New makes an engine, for the limit of descriptors that the process has now. The caller must Close it, also if Run is
// never called.
func New(options Options) (*Engine, error) {
	if options.Workers < 1 || options.Workers > len(options.Stats.Unrouted.TCP) {
		return nil, fmt.Errorf("make TCP engine: %d workers, counters for %d", options.Workers,
			len(options.Stats.Unrouted.TCP))
	}
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	bound, err := descriptorBound()
	if err != nil {
		return nil, fmt.Errorf("make TCP engine: %w", err)
	}
	e := &Engine{options: options, epoch: time.Now(), bound: bound, settled: make(chan struct{}, 1),
		stopped: make(chan struct{}), lastKey: wakeupKey}
	if err := e.Listen(options.Listener); err != nil {
		return nil, fmt.Errorf("make TCP engine: %w", err)
	}
	for id := range options.Workers {
		w, err := newWorker(e, id)
		if err != nil {
			e.release()
			return nil, fmt.Errorf("make TCP engine: %w", err)
		}
		e.workers = append(e.workers, w)
	}
	return e, nil
}

// Run forwards connections until Close or the end of a Drain, when it returns nil, or until a worker fails.
func (e *Engine) Run() error {
	if err := e.start(); err != nil {
		return fmt.Errorf("run TCP engine: %w", err)
	}
	var group errgroup.Group
	for _, w := range e.workers {
		group.Go(w.run)
	}
	err := group.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.release()
	return err
}

func (e *Engine) start() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.in(closing) {
		return ErrClosed
	}
	if e.started {
		return errRunning
	}
	e.started = true
	return nil
}

// release closes the workers' descriptors. The caller holds e.mu or is alone, and no worker runs.
func (e *Engine) release() {
	for _, w := range e.workers {
		w.release()
	}
	e.released = true
	e.closeLeft()
	close(e.stopped)
}

// Active returns how many connections there are: accepted and not ended.
func (e *Engine) Active() int { return int(e.active.Load()) }
