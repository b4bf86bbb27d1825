package sock

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Wakeup is a descriptor that becomes readable when somebody wants the attention of a loop that waits on an [Epoll]
// (eventfd(2)). Any goroutine may Signal; any number of signals before a Clear count as one.
type Wakeup struct{ fd int }

// NewWakeup opens one, which the caller closes.
func NewWakeup() (Wakeup, error) {
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return Wakeup{-1}, fmt.Errorf("create eventfd: %w", err)
	}
	return Wakeup{fd}, nil
}

// FD returns the descriptor to wait on.
func (w Wakeup) FD() int { return w.fd }

// Signal makes the descriptor readable.
func (w Wakeup) Signal() {
	one := [8]byte{1} // any count but 0 and the greatest, whatever the byte order
	unix.Write(w.fd, one[:])
}

// Clear takes all signals so far.
func (w Wakeup) Clear() {
	var count [8]byte
	unix.Read(w.fd, count[:])
}

// Close closes the descriptor. Nobody may Signal any more.
func (w Wakeup) Close() {
	if w.fd >= 0 {
		unix.Close(w.fd)
	}
}
