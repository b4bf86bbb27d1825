package sock

import (
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Event is one report of an [Epoll]: what happened (EPOLLIN and so on), and the 64 bits that the caller gave to Add.
type Event unix.EpollEvent

// NewEvent returns what Add needs to watch for events and report them with data.
func NewEvent(events uint32, data uint64) Event {
	return Event{Events: events, Fd: int32(uint32(data)), Pad: int32(uint32(data >> 32))}
}

// Data returns the 64 bits given to Add.
func (e *Event) Data() uint64 { return uint64(uint32(e.Fd)) | uint64(uint32(e.Pad))<<32 }

// Epoll is an epoll(7) set. One goroutine waits on it, any may add and remove.
type Epoll struct{ fd int }

// NewEpoll opens an empty set, which the caller closes.
func NewEpoll() (Epoll, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return Epoll{-1}, fmt.Errorf("create epoll set: %w", err)
	}
	return Epoll{fd}, nil
}

// Add puts fd into the set. Closing fd takes it out again.
func (e Epoll) Add(fd int, ev Event) syscall.Errno {
	_, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(e.fd), unix.EPOLL_CTL_ADD, uintptr(fd),
		uintptr(unsafe.Pointer(&ev)), 0, 0)
	return errno
}

// Remove takes fd out of the set.
func (e Epoll) Remove(fd int) syscall.Errno {
	_, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(e.fd), unix.EPOLL_CTL_DEL, uintptr(fd), 0, 0, 0)
	return errno
}

// Wait fills events and returns how many there are, 0 after timeoutMs milliseconds (-1: no limit) or a signal. It goes
// through Syscall, not RawSyscall: a thread that sleeps in the kernel without the scheduler knowing keeps its
// processor from every other goroutine.
func (e Epoll) Wait(events []Event, timeoutMs int) (int, error) {
	n, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT, uintptr(e.fd),
		uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)), uintptr(timeoutMs), 0, 0)
	switch errno {
	case 0:
		return int(n), nil
	case unix.EINTR:
		return 0, nil
	}
	return 0, fmt.Errorf("wait for events: %w", errno)
}

// Close closes the set. What is in it stays open.
func (e Epoll) Close() {
	if e.fd >= 0 {
		unix.Close(e.fd)
	}
}
