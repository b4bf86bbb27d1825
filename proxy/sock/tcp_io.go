package sock

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Recv reads from a non-blocking socket (recv(2)). With MSG_PEEK the bytes stay in its receive buffer.
func Recv(fd int, buf []byte, flags int) (n int, errno syscall.Errno) {
	for {
		r, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(buf))),
			uintptr(len(buf)), uintptr(flags), 0, 0)
		if errno == 0 {
			return int(r), 0
		}
		if errno != unix.EINTR {
			return 0, errno
		}
	}
}

// Discard takes n bytes from a TCP socket's receive buffer without copying them (MSG_TRUNC in tcp(7)). The bytes have
// been peeked at, so they are there.
func Discard(fd, n int) syscall.Errno {
	for n > 0 {
		r, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), 0, uintptr(n), unix.MSG_TRUNC, 0, 0)
		if errno != 0 && errno != unix.EINTR {
			return errno
		}
		if errno == 0 {
			n -= int(r)
		}
	}
	return 0
}

// Send writes to a non-blocking socket (send(2)) and raises no SIGPIPE. With MSG_MORE, a packet that has room waits for
// what follows: more data, or a FIN.
func Send(fd int, buf []byte, flags int) (n int, errno syscall.Errno) {
	for {
		r, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(buf))),
			uintptr(len(buf)), uintptr(flags|unix.MSG_NOSIGNAL), 0, 0)
		if errno == 0 {
			return int(r), 0
		}
		if errno != unix.EINTR {
			return 0, errno
		}
	}
}

// Splice moves up to n bytes between a socket and a pipe without copying them (splice(2)). It does not wait for
// either: EAGAIN says that one of them was not ready, and a short count says nothing.
func Splice(from, to, n int) (moved int, errno syscall.Errno) {
	for {
		r, _, errno := unix.RawSyscall6(unix.SYS_SPLICE, uintptr(from), 0, uintptr(to), 0, uintptr(n),
			unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
		if errno == 0 {
			return int(r), 0
		}
		if errno != unix.EINTR {
			return 0, errno
		}
	}
}
