package tcp

import (
	"fmt"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"anyport/proxy/sock"
)

// listener is a socket that the engine accepts connections from.
type listener struct {
	socket *sock.Socket
	key    uint64 // in the workers' epoll sets; each listener of an engine has a higher one than those before
	users  int    // workers that have not let go of it; guarded by Engine.mu
	left   bool   // Unlisten has been called; guarded by Engine.mu
}

// Listen has the engine accept from one more listener, which it treats as it does that of its options. Connections wait
// in its queue until Run runs. The engine does not close it before Unlisten.
func (e *Engine) Listen(s *sock.Socket) error {
	if err := unix.SetNonblock(s.FD(), true); err != nil {
		return fmt.Errorf("set listener non-blocking: %w", err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lastKey++
	e.listeners = append(e.listeners, &listener{socket: s, key: e.lastKey, users: e.options.Workers})
	e.tellListeners()
	return nil
}

// Unlisten has the engine serve what waits in the queue of a listener that Listen got, and then close it: soon, and at
// the latest when the engine is closed. Clients should have been led elsewhere for so long that no handshake is under
// way.
func (e *Engine) Unlisten(s *sock.Socket) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, l := range e.listeners {
		if l.socket == s {
			l.left = true
		}
	}
	if e.released {
		e.closeLeft()
	}
	e.tellListeners()
}

// tellListeners has the workers look at the list. The caller holds e.mu.
func (e *Engine) tellListeners() {
	if e.released {
		return
	}
	for _, w := range e.workers {
		w.relisten.Store(true)
		w.wakeup.Signal()
	}
}

// closeLeft closes the listeners that have been left, as no worker runs any more. The caller holds e.mu or is alone.
func (e *Engine) closeLeft() {
	e.listeners = slices.DeleteFunc(e.listeners, func(l *listener) bool {
		if l.left {
			l.socket.Close()
		}
		return l.left
	})
}

// followListeners makes what w watches what the engine has.
func (w *worker) followListeners() {
	fresh, left := w.listenerChanges()
	for _, l := range fresh {
		w.listeners = append(w.listeners, l)
		if w.door.shut {
			continue // it will be opened for all of them
		}
		if errno := w.watchListener(l); errno != 0 {
			w.door.failed(w, errno)
			w.door.close(w)
		}
	}
	for _, l := range left {
		for w.accept(l) {
		}
		w.epoll.Remove(l.socket.FD())
		w.forget(l)
	}
}

// listenerChanges returns the listeners that are new to w, and those that it has to let go of, which may be new.
func (w *worker) listenerChanges() (fresh, left []*listener) {
	e := w.engine
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, l := range e.listeners {
		isNew := l.key > w.lastKey
		if isNew {
			fresh = append(fresh, l)
		}
		if l.left && (isNew || slices.Contains(w.listeners, l)) {
			left = append(left, l)
		}
	}
	w.lastKey = e.lastKey
	return fresh, left
}

// forget lets go of a listener; the last worker to do so closes it.
func (w *worker) forget(l *listener) {
	isIt := func(other *listener) bool { return other == l }
	w.listeners = slices.DeleteFunc(w.listeners, isIt)
	e := w.engine
	e.mu.Lock()
	defer e.mu.Unlock()
	if l.users--; l.users == 0 {
		e.listeners = slices.DeleteFunc(e.listeners, isIt)
		l.socket.Close()
	}
}

// watchListener puts a listener into w's epoll set, shared with the other workers' sets: each arrival wakes one of them.
func (w *worker) watchListener(l *listener) syscall.Errno {
	return w.epoll.Add(l.socket.FD(), sock.NewEvent(unix.EPOLLIN|unix.EPOLLEXCLUSIVE, l.key))
}

// listenerOf returns the listener that a key stands for, or nil if w has let go of it earlier in a batch of events.
func (w *worker) listenerOf(key uint64) *listener {
	for _, l := range w.listeners {
		if l.key == key {
			return l
		}
	}
	return nil
}

// acceptAll looks into the queues of all listeners.
func (w *worker) acceptAll() {
	for _, l := range w.listeners {
		w.accept(l)
	}
}
