package tcp

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// reserve is a descriptor that stands for nothing. With every other one in use, giving it up for a moment lets a
// worker accept a connection, if only to reset it: its client learns at once what it would wait for otherwise.
type reserve struct {
	fd   int
	held bool
}

// take gets hold of a descriptor, if none is held.
func (r *reserve) take() syscall.Errno {
	if r.held {
		return 0
	}
	fd, _, errno := unix.RawSyscall(unix.SYS_EVENTFD2, 0, unix.EFD_CLOEXEC, 0)
	r.fd, r.held = int(fd), errno == 0
	return errno
}

// close gives the descriptor up, if one is held.
func (r *reserve) close() {
	if r.held {
		unix.Close(r.fd)
		r.held = false
	}
}
