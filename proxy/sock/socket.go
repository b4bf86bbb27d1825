// Package sock is the kernel's socket interface as the data planes need it: options, control messages, batched reads
// and writes, original destinations. It keeps sockets out of Go's runtime poller, because the data planes wait on
// their own epoll sets.
package sock

import (
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// Socket is a socket that Go's runtime does not know. The zero value is not usable.
type Socket struct {
	fd     int
	closed atomic.Bool
}

// FromFD takes over fd.
func FromFD(fd int) *Socket { return &Socket{fd: fd} }

// FD returns the descriptor, valid until Close.
func (s *Socket) FD() int { return s.fd }

// Close closes the descriptor; a second call does nothing. The caller makes sure that nobody uses FD any more.
func (s *Socket) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	return unix.Close(s.fd)
}

// SyscallConn lets other packages, steering above all, reach the descriptor. Only Control works: Read and Write wait
// in the runtime poller, which does not know this socket, and return EINVAL.
func (s *Socket) SyscallConn() (syscall.RawConn, error) {
	if s.closed.Load() {
		return nil, unix.EBADF
	}
	return rawConn{s}, nil
}

type rawConn struct{ s *Socket }

func (c rawConn) Control(f func(fd uintptr)) error {
	if c.s.closed.Load() {
		return unix.EBADF
	}
	f(uintptr(c.s.fd))
	return nil
}

func (rawConn) Read(func(uintptr) bool) error  { return unix.EINVAL }
func (rawConn) Write(func(uintptr) bool) error { return unix.EINVAL }
