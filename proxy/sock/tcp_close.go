package sock

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Close closes a descriptor. The kernel goes on sending what a TCP socket has taken, then its FIN.
func Close(fd int) {
	unix.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0)
}

// Abort closes a TCP socket with a RST, whatever it has not sent yet is thrown away (SO_LINGER with a time of 0,
// socket(7); RFC 9293 section 3.10.5).
func Abort(fd int) {
	linger := unix.Linger{Onoff: 1}
	unix.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_LINGER,
		uintptr(unsafe.Pointer(&linger)), unsafe.Sizeof(linger), 0)
	Close(fd)
}

// ShutdownWrite sends a FIN behind the data that the socket has taken (shutdown(2)).
func ShutdownWrite(fd int) syscall.Errno {
	_, _, errno := unix.RawSyscall(unix.SYS_SHUTDOWN, uintptr(fd), unix.SHUT_WR, 0)
	return errno
}

// Unsent returns how many bytes, a FIN among them, a TCP socket has taken and not sent yet (SIOCOUTQNSD in
// net/ipv4/tcp.c, since Linux 3.0), and 0 for a socket that cannot tell.
func Unsent(fd int) int {
	var n int32
	unix.RawSyscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCOUTQNSD, uintptr(unsafe.Pointer(&n)))
	return int(n)
}
