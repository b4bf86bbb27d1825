package tcp

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"anyport/proxy/sock"
	"anyport/proxy/stats"
)

// worker is one event loop. Everything but load, nudged, inbox and wakeup belongs to the loop's goroutine alone.
type worker struct {
	engine    *Engine
	id        int
	log       *slog.Logger
	epoll     sock.Epoll
	events    []sock.Event
	buf       []byte
	clock     clock
	slab      slab
	timers    timerWheel
	routes    routeRefs
	pipes     pipePool
	door      door
	listeners []*listener // that are watched while the door is open
	lastKey   uint64      // of a listener that has been seen
	again     []uint64    // keys of connections that have had their turn and can go on
	resumed   []uint64    // what again was a round ago; its memory is used again
	record    stats.Record
	progress  tick   // between two lines of an open connection in the access log; 0: only one, at its end
	peer      int    // the worker that relief looked at last
	source    uint32 // counts what connectFrom has taken

	load     atomic.Int64 // connections here or on their way here
	nudged   atomic.Bool  // another worker has left something in a listener's queue
	relisten atomic.Bool  // the engine's listeners have changed
	review   atomic.Bool  // upstreams have been removed
	inbox    inbox
	wakeup   sock.Wakeup
}

const (
	// bufferBytes is what one read takes at most: what a pipe holds, so that a pipe always holds the rest of a read.
	bufferBytes = sock.PipeBytes
	// batchEvents is how many events are fetched at once: as many as HAProxy's tune.maxpollevents.
	batchEvents = 200
)

// interest is what both sockets of a connection are watched for, from first to last.
const interest = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLPRI | unix.EPOLLET

func newWorker(e *Engine, id int) (w *worker, err error) {
	w = &worker{
		engine: e,
		id:     id,
		log:    e.options.Logger.With("worker", id),
		events: make([]sock.Event, batchEvents),
		buf:    make([]byte, bufferBytes),
		clock:  clock{epoch: e.epoch},
		slab:   newSlab(),
		pipes:  pipePool{most: maxPipes, bound: e.bound},
		routes: newRouteRefs(id, e.options.Stats),
		inbox:  newInbox(),
		peer:   rand.IntN(e.options.Workers),
		source: rand.Uint32(), // so that workers do not walk in step
	}
	w.timers.slab = &w.slab
	if e.options.AccessLog != nil {
		w.progress = ticks(e.options.LogProgress)
	}
	if w.epoll, err = sock.NewEpoll(); err != nil {
		return nil, err
	}
	if w.wakeup, err = sock.NewWakeup(); err != nil {
		w.epoll.Close()
		return nil, err
	}
	if err = w.watch(); err != nil {
		w.release()
		return nil, err
	}
	return w, nil
}

// watch puts the listeners and the wakeup into the epoll set.
func (w *worker) watch() error {
	if errno := w.epoll.Add(w.wakeup.FD(), sock.NewEvent(unix.EPOLLIN, wakeupKey)); errno != 0 {
		return fmt.Errorf("watch for wake-ups: %w", errno)
	}
	w.listeners, _ = w.listenerChanges()
	if errno := w.door.open(w); errno != 0 {
		return fmt.Errorf("watch the listener: %w", errno)
	}
	return nil
}

// run is the event loop. It returns once the engine is closing, or when waiting for events fails; the engine then
// closes as a whole.
func (w *worker) run() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer w.engine.enter(closing)
	defer w.endAll()
	for !w.engine.in(closing) {
		n, err := w.epoll.Wait(w.events, w.patience())
		if err != nil {
			return err
		}
		w.clock.read()
		for i := range w.events[:n] {
			w.dispatch(w.events[i].Data(), w.events[i].Events)
		}
		w.resume()
		w.timers.turn(w.clock.tick(), w.expire)
		w.door.reopen(w)
	}
	return nil
}

// patience returns how many milliseconds to wait for events, -1 for no limit.
func (w *worker) patience() int {
	if len(w.again) > 0 {
		return 0
	}
	wait := w.door.patience(&w.clock)
	if next, ok := w.timers.next(); ok {
		if ms := w.clock.untilTick(next); wait < 0 || ms < wait {
			wait = ms
		}
	}
	return wait
}

func (w *worker) dispatch(key uint64, events uint32) {
	if !isConnection(key) {
		w.attendTo(key)
		return
	}
	c, s := w.slab.find(key)
	switch {
	case c == nil: // it ended earlier in this batch
	case c.state == greeting:
		w.greeted(c, events)
	case c.state == connecting:
		w.connected(c, events)
	default:
		w.note(c, s, events)
		w.relay(c)
	}
}

// attendTo takes an event that is not of a connection.
func (w *worker) attendTo(key uint64) {
	if key == wakeupKey {
		w.wake()
	} else if l := w.listenerOf(key); l != nil {
		w.accept(l)
	}
}

// resume goes on with the connections that gave others their turn.
func (w *worker) resume() {
	w.again, w.resumed = w.resumed[:0], w.again
	for _, key := range w.resumed {
		if c, _ := w.slab.find(key); c != nil {
			w.relay(c)
		}
	}
}

// wake does what others have asked for.
func (w *worker) wake() {
	w.wakeup.Clear()
	for _, h := range w.inbox.take() {
		w.serve(int(h.fd), h.client)
	}
	if w.relisten.Swap(false) {
		w.followListeners()
	}
	if w.nudged.Swap(false) && !w.door.shut {
		w.acceptAll()
	}
	if w.review.Swap(false) {
		w.endRemoved()
	}
	if w.engine.in(draining) {
		w.door.drain(&w.clock)
	}
}

// endAll resets every connection that this worker has or has been given.
func (w *worker) endAll() {
	w.inbox.close()
	for _, h := range w.inbox.take() {
		w.refuse(int(h.fd), h.client, stats.Drained)
	}
	w.slab.each(func(c *conn) { w.end(c, stats.Drained) })
}

// release closes the worker's own descriptors. No worker runs any more, or none has run: they use each other's wakeups.
func (w *worker) release() {
	w.pipes.closeIdle()
	w.door.reserve.close()
	w.epoll.Close()
	w.wakeup.Close()
}
