package sock

import (
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// keepaliveProbes is how many probes may go unanswered.
const keepaliveProbes = 3

// SetKeepalive has the kernel probe a peer that has been silent for idle, three times over as long again, and then fail
// the socket with ETIMEDOUT (SO_KEEPALIVE in socket(7), TCP_KEEPIDLE and so on in tcp(7), which count seconds).
func SetKeepalive(fd int, idle time.Duration) {
	seconds := int((idle + time.Second - 1) / time.Second)
	setOption(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, seconds)
	setOption(fd, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, max(1, seconds/keepaliveProbes))
	setOption(fd, unix.IPPROTO_TCP, unix.TCP_KEEPCNT, keepaliveProbes)
	setOption(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
}

// SetUserTimeout has the kernel fail a socket with ETIMEDOUT whose peer has not acknowledged what was sent, or has kept
// its window shut, for d (TCP_USER_TIMEOUT in tcp(7), which counts milliseconds; tcp_probe_timer in net/ipv4/tcp_timer.c
// for the window).
func SetUserTimeout(fd int, d time.Duration) {
	setOption(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(max(d, time.Millisecond)/time.Millisecond))
}

// setOption sets a socket option. With a value that is in range it can only fail for want of a capability, or on a
// descriptor that is no socket of the kind.
func setOption(fd int, level, name uintptr, value int) syscall.Errno {
	v := int32(value)
	_, _, errno := unix.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), level, name, uintptr(unsafe.Pointer(&v)), unsafe.Sizeof(v), 0)
	return errno
}
