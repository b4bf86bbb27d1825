package tcp

import (
	"sync"

	"anyport/proxy/sock"
)

// handover is an accepted connection on its way from the worker that accepted it to the one that will serve it.
type handover struct {
	fd     int32
	client sock.Addr
}

// inbox is where other workers leave connections for one. It is bounded: a worker that finds it full keeps what it has.
type inbox struct {
	mu     sync.Mutex // guards the fields below
	filled []handover
	spare  []handover // what take returned last, to be filled next
	closed bool
}

const inboxSize = 256

func newInbox() inbox {
	return inbox{filled: make([]handover, 0, inboxSize), spare: make([]handover, 0, inboxSize)}
}

// put leaves h, unless the inbox is full or closed. If h is the first one, its worker has to be woken.
func (b *inbox) put(h handover) (taken, first bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || len(b.filled) == inboxSize {
		return false, false
	}
	b.filled = append(b.filled, h)
	return true, len(b.filled) == 1
}

// take returns what has been left. The slice is valid until the next call.
func (b *inbox) take() []handover {
	b.mu.Lock()
	defer b.mu.Unlock()
	taken := b.filled
	b.filled, b.spare = b.spare[:0], taken
	return taken
}

// close makes every further put fail.
func (b *inbox) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
}
