package sock

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The functions from here on are the data planes' hot paths. They allocate nothing, and as none of them ever blocks
// they do without telling the scheduler (RawSyscall). Errors are plain errnos; 0 is success.

// Accept takes a connection from the listener: its descriptor, non-blocking and close-on-exec, and the client's
// address (accept4(2)).
func Accept(listener int) (fd int, client Addr, errno syscall.Errno) {
	var raw sockaddr
	size := uint32(unsafe.Sizeof(raw))
	n, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(listener), uintptr(unsafe.Pointer(&raw)),
		uintptr(unsafe.Pointer(&size)), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	if errno != 0 {
		return -1, Addr{}, errno
	}
	return int(n), decode(&raw), 0
}

// LocalAddress returns the address that a socket is bound to (getsockname(2)). Of an accepted connection it is the
// original destination: what the client dialled, however the connection was steered.
func LocalAddress(fd int) (Addr, syscall.Errno) {
	var raw sockaddr
	size := uint32(unsafe.Sizeof(raw))
	_, _, errno := unix.RawSyscall(unix.SYS_GETSOCKNAME, uintptr(fd), uintptr(unsafe.Pointer(&raw)),
		uintptr(unsafe.Pointer(&size)))
	if errno != 0 {
		return Addr{}, errno
	}
	return decode(&raw), 0
}

// Connect opens a non-blocking TCP socket of the family of to, with the options that [ListenTCP] gives to accepted
// ones, and starts to connect it. It returns EINPROGRESS with a valid descriptor while the handshake is under way; with
// any other errno there is no descriptor. Nothing is bound first: the kernel then chooses a source port per destination,
// so that one address has 28,000 ports for each upstream and not 28,000 in all (inet_hash_connect in
// net/ipv4/inet_hashtables.c). With none left it is EADDRNOTAVAIL.
//
// The last packet of the handshake is held back, so that the first data can be in it: once there has been a chance to
// send some, [AckNow] has to be called.
func Connect(to Addr) (fd int, errno syscall.Errno) {
	if fd, errno = openFor(to); errno != 0 {
		return -1, errno
	}
	return connect(fd, to)
}

// ConnectFrom is Connect from one of the host's addresses, which is of the family of to; its port is not used. Each
// address has its own 28,000 ports for every upstream: IP_BIND_ADDRESS_NO_PORT (ip(7), since Linux 4.2) leaves the port
// to the connect. EADDRNOTAVAIL says that none is left, or that the address is not the host's.
func ConnectFrom(from, to Addr) (fd int, errno syscall.Errno) {
	if fd, errno = openFor(to); errno != 0 {
		return -1, errno
	}
	setOption(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1) // for IPv6, too (ipv6_setsockopt)
	if errno = bind(fd, Addr{IP: from.IP}); errno != 0 {
		Close(fd)
		return -1, errno
	}
	return connect(fd, to)
}

// ConnectAs is Connect from any address and port, the host's or not, of the family of to (IP_TRANSPARENT in ip(7),
// IPV6_TRANSPARENT since Linux 2.6.37). Replies reach the socket only if a route makes their destination local. A port
// that is in use towards another destination will do (SO_REUSEADDR); if it is towards this one, the errno is
// EADDRNOTAVAIL. It needs CAP_NET_ADMIN or CAP_NET_RAW, and CAP_NET_BIND_SERVICE for ports below 1024.
func ConnectAs(from, to Addr) (fd int, errno syscall.Errno) {
	if fd, errno = openFor(to); errno != 0 {
		return -1, errno
	}
	if errno = setTransparent(fd, from); errno == 0 {
		errno = bind(fd, from)
	}
	if errno != 0 {
		Close(fd)
		return -1, errno
	}
	return connect(fd, to)
}

func setTransparent(fd int, from Addr) syscall.Errno {
	setOption(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	level, name := uintptr(unix.IPPROTO_IPV6), uintptr(unix.IPV6_TRANSPARENT)
	if from.Is4() {
		level, name = unix.IPPROTO_IP, unix.IP_TRANSPARENT
	}
	return setOption(fd, level, name, 1)
}

func openFor(to Addr) (fd int, errno syscall.Errno) {
	family := uintptr(unix.AF_INET6)
	if to.Is4() {
		family = unix.AF_INET
	}
	n, _, errno := unix.RawSyscall(unix.SYS_SOCKET, family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC,
		unix.IPPROTO_TCP)
	if errno != 0 {
		return -1, errno
	}
	setOption(int(n), unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	setOption(int(n), unix.SOL_SOCKET, unix.SO_OOBINLINE, 1)
	setOption(int(n), unix.IPPROTO_TCP, unix.TCP_QUICKACK, 0)
	return int(n), 0
}

func bind(fd int, from Addr) syscall.Errno {
	var raw sockaddr
	size := from.encode(&raw)
	_, _, errno := unix.RawSyscall(unix.SYS_BIND, uintptr(fd), uintptr(unsafe.Pointer(&raw)), uintptr(size))
	return errno
}

// connect starts to connect fd, and closes it if that fails.
func connect(fd int, to Addr) (int, syscall.Errno) {
	var raw sockaddr
	size := to.encode(&raw)
	_, _, errno := unix.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&raw)), uintptr(size))
	if errno != 0 && errno != unix.EINPROGRESS {
		Close(fd)
		return -1, errno
	}
	return fd, errno
}

// AckNow sends the acknowledgement that a socket from [Connect] owes its peer, if it still owes one, and has it
// acknowledge like any other socket from now on (TCP_QUICKACK in tcp(7); tcp_rcv_synsent_state_process in
// net/ipv4/tcp_input.c). Forgotten, it costs the peer 200 ms.
func AckNow(fd int) { setOption(fd, unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1) }

// TakeError returns the error that is pending on a socket and clears it (SO_ERROR in socket(7)): of a connect that was
// under way, how it failed.
func TakeError(fd int) syscall.Errno {
	var pending int32
	size := uint32(unsafe.Sizeof(pending))
	_, _, errno := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_ERROR,
		uintptr(unsafe.Pointer(&pending)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return errno
	}
	return syscall.Errno(pending)
}
