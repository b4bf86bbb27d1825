package sock

import (
	"fmt"

	"golang.org/x/sys/unix"
)

const (
	// PipeBytes is what every [Pipe] can hold, even written to in one piece: 16 pages, the kernel's default (pipe(7)).
	PipeBytes = 64 << 10
	// pipeWish is what a Pipe is asked to hold. Spliced in, a page may carry no more than one packet's payload, so
	// that PipeBytes would be a few packets. It is the kernel's limit for users without CAP_SYS_RESOURCE
	// (fs.pipe-max-size).
	pipeWish = 1 << 20
)

// Pipe is a non-blocking pipe for data on its way between two sockets.
type Pipe struct{ R, W int }

// NewPipe opens a pipe, which the caller closes. It fails with ENOBUFS where the user's share of pipe memory is used up
// and the kernel makes nothing but tiny ones (fs.pipe-user-pages-soft in proc_sys_fs(5)).
func NewPipe() (Pipe, error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		return Pipe{}, fmt.Errorf("create pipe: %w", err)
	}
	p := Pipe{R: fds[0], W: fds[1]}
	size, err := unix.FcntlInt(uintptr(p.W), unix.F_SETPIPE_SZ, pipeWish)
	if err != nil {
		size, err = unix.FcntlInt(uintptr(p.W), unix.F_GETPIPE_SZ, 0)
	}
	if err == nil && size < PipeBytes {
		err = unix.ENOBUFS
	}
	if err != nil {
		p.Close()
		return Pipe{}, fmt.Errorf("create pipe: %w", err)
	}
	return p, nil
}

// Close closes both ends; data inside is lost.
func (p Pipe) Close() {
	Close(p.R)
	Close(p.W)
}
