package tcp

import "golang.org/x/sys/unix"

// reserve is a descriptor that stands for nothing. With every other one in use, giving it up for a moment lets a
// worker accept a connection, if only to reset it: its client learns at once what it would wait for otherwise.
type reserve struct {
	fd   int
	held bool
}

// take gets hold of a descriptor, if one is free and none is held.
func (r *reserve) take() {
	if r.held {
		return
	}
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	r.fd, r.held = fd, err == nil
}

// close gives the descriptor up, if one is held.
func (r *reserve) close() {
	if r.held {
		unix.Close(r.fd)
		r.held = false
	}
}
