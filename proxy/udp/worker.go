package udp

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"anyport/proxy/limit"
	"anyport/proxy/offload"
	"anyport/proxy/route"
	"anyport/proxy/sock"
	"anyport/proxy/stats"
)

// batchSize is how many datagrams one system call moves. Beyond some tens the cost of the call itself no longer shows.
const batchSize = 64

// worker owns one pair of sockets and the flows that go through it. One goroutine runs it.
type worker struct {
	number    int // of its shard in the counters
	clients   *sock.Socket
	replies   *sock.Socket
	raw       *sock.RawUDP
	icmp      *sock.RawICMP
	trains    *offload.TrainSender // nil: every datagram goes through raw
	epoll     sock.Epoll
	wakeup    sock.Wakeup
	batch     *sock.RecvBatch                    // one for both directions: each is sent before the other is read
	headers   [batchSize][clientHeaderBytes]byte // what goes before the datagrams of the batch
	strays    []stray                            // of the batch
	shared    *Shared
	routes    *route.Live
	registry  *stats.Registry
	accessLog *stats.AccessLog
	sources   *limit.Sources // counts each source's flows; nil: no limit
	keepFlows bool           // at a limit, refuse new flows rather than evict old ones
	logger    *slog.Logger
	started   time.Time

	mu         sync.Mutex // held through each turn of the loop; guards the fields below
	flows      *flowTable
	listed     []*natBlock // that new flows leave from; nil: the endpoint's own
	draining   bool
	stopping   bool
	exporting  bool
	sinceStart time.Duration // as this turn began
	now        tick          // the same
	record     stats.Record  // kept so that none need be allocated
	complaint  complaint
	icmpBudget icmpBudget
	offloader  Offloader // nil: none
	swept      flowID    // see sweep: the flows before have been looked at; 0: all
	sweptAt    tick      // when the last sweep began
}

func newWorker(opts *Options) (*worker, error) {
	w := &worker{
		number:    opts.Worker,
		shared:    opts.Shared,
		clients:   opts.Clients,
		replies:   opts.Replies,
		batch:     sock.NewRecvBatch(batchSize),
		routes:    opts.Routes,
		registry:  opts.Stats,
		accessLog: opts.AccessLog,
		sources:   opts.Sources,
		keepFlows: opts.KeepFlows,
		logger:    opts.Logger,
		started:   time.Now(),
		flows:     newFlowTable(opts.MaxFlows),
	}
	if opts.Transmit != nil {
		w.trains = opts.Transmit.Sender(w.number)
	}
	if err := errors.Join(sock.JoinUDP(w.clients), sock.JoinUDP(w.replies), sock.NoteFragments(w.replies)); err != nil {
		return nil, err
	}
	var err error
	if w.raw, err = sock.OpenRawUDP(batchSize, w.sendFailed); err != nil {
		return nil, err
	}
	if w.icmp, err = sock.OpenRawICMP(); err != nil {
		return nil, errors.Join(err, w.raw.Close())
	}
	if err := w.watch(); err != nil {
		return nil, errors.Join(err, w.raw.Close(), w.icmp.Close())
	}
	return w, nil
}

// What the epoll set reports.
const (
	clientsReady = iota
	repliesReady
	woken
	icmpReady
	numEvents
)

// watch makes the epoll set.
func (w *worker) watch() (err error) {
	if w.epoll, err = sock.NewEpoll(); err != nil {
		return err
	}
	if w.wakeup, err = sock.NewWakeup(); err != nil {
		w.epoll.Close()
		return err
	}
	if err = w.watchAll(); err != nil {
		w.epoll.Close()
		w.wakeup.Close()
	}
	return err
}

// watchAll fills the epoll set.
func (w *worker) watchAll() error {
	fds := [numEvents][]int{clientsReady: {w.clients.FD()}, repliesReady: {w.replies.FD()}, woken: {w.wakeup.FD()},
		icmpReady: w.icmp.FDs()}
	for what, list := range fds {
		for _, fd := range list {
			if errno := w.epoll.Add(fd, sock.NewEvent(unix.EPOLLIN, uint64(what))); errno != 0 {
				return fmt.Errorf("watch socket: %w", errno)
			}
		}
	}
	return nil
}

// release closes what newWorker opened.
func (w *worker) release() error {
	w.epoll.Close()
	w.wakeup.Close()
	return errors.Join(w.raw.Close(), w.icmp.Close())
}

// run forwards until it is told to stop or has drained.
func (w *worker) run() error {
	defer w.finish()
	var events [numEvents]sock.Event
	for timeout := 0; timeout != stop; {
		n, err := w.epoll.Wait(events[:], timeout)
		if err != nil {
			return err
		}
		timeout = w.turn(events[:n])
		w.passOn()
	}
	return nil
}

// What turn returns besides a number of milliseconds.
const (
	forever = -1
	stop    = -2
)

// turn serves what the epoll set has reported, replies first, and returns how long to wait for more.
func (w *worker) turn(events []sock.Event) (timeout int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.readClock()
	var ready [numEvents]bool
	for i := range events {
		ready[events[i].Data()] = true
	}
	if ready[woken] {
		w.wakeup.Clear()
	}
	if ready[repliesReady] {
		w.fromUpstreams()
	}
	if ready[icmpReady] {
		w.fromICMP()
	}
	if ready[clientsReady] {
		w.fromClients()
	}
	return w.keepTime()
}

// readClock begins a turn.
func (w *worker) readClock() {
	w.sinceStart = time.Since(w.started)
	w.now = tickOf(w.sinceStart)
}

// keepTime does what is due by now and returns how long to wait for datagrams before it must be called again.
func (w *worker) keepTime() (timeout int) {
	more := w.expire()
	more = w.sweep() || more
	w.flows.endQuarantines(w.now)
	switch {
	case w.stopping || w.draining && w.flows.open == 0:
		return stop
	case more:
		return 0
	case w.flows.open == 0 && w.flows.resting.empty():
		return forever
	}
	return int(tickLength / time.Millisecond)
}

// finish ends all flows, but those that wait to be exported.
func (w *worker) finish() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.exporting {
		w.endAll(stats.Drained)
	}
}
