package steering

import (
	"fmt"

	"golang.org/x/sys/unix"

	"anyport/conf/rule"
)

// checkSocket returns a *SocketError for a socket that the kernel would not take into a socket map, or would take and
// then not assign to any packet: it says EOPNOTSUPP for nearly all of these, or nothing.
func checkSocket(fd int, p rule.Protocol) error {
	protocol, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	if err != nil {
		return fmt.Errorf("read socket's protocol: %w", err)
	}
	switch {
	case protocol == unix.IPPROTO_MPTCP:
		return &SocketError{Reason: "it is an MPTCP socket",
			Advice: "use net.ListenConfig.SetMultipathTCP(false), or run the server with GODEBUG=multipathtcp=0",
			Err:    unix.EOPNOTSUPP}
	case protocol != int(p):
		return &SocketError{Reason: fmt.Sprintf("it is a socket for %s", rule.Protocol(protocol))}
	case p == rule.TCP:
		return checkListening(fd)
	}
	return checkBound(fd)
}

func checkListening(fd int) error {
	listening, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err != nil {
		return fmt.Errorf("read socket's state: %w", err)
	}
	if listening == 0 {
		return &SocketError{Reason: "it does not listen"}
	}
	return nil
}

func checkBound(fd int) error {
	if _, err := unix.Getpeername(fd); err == nil {
		return &SocketError{Reason: "it is connected"}
	}
	local, err := unix.Getsockname(fd)
	if err != nil {
		return fmt.Errorf("read socket's address: %w", err)
	}
	switch a := local.(type) {
	case *unix.SockaddrInet4:
		if a.Port != 0 {
			return nil
		}
	case *unix.SockaddrInet6:
		if a.Port != 0 {
			return nil
		}
	}
	return &SocketError{Reason: "it is not bound to a port"}
}
