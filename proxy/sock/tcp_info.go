package sock

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// RTT returns the smoothed round-trip time to a TCP socket's peer, in microseconds' steps, and 0 where none has been
// measured (tcpi_rtt of TCP_INFO in tcp(7)). A socket that a RST has closed still knows it.
func RTT(fd int) time.Duration {
	var info unix.TCPInfo
	size := uint32(unsafe.Offsetof(info.Rtt) + unsafe.Sizeof(info.Rtt)) // the kernel copies no more
	unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.IPPROTO_TCP, unix.TCP_INFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	return time.Duration(info.Rtt) * time.Microsecond
}
