package sock

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// SetTransparent lets TPROXY rules lead packets of both families to a socket, whatever their destination is (kernel
// Documentation/networking/tproxy.rst). It is one flag of the socket, and IPv6 sockets take the IPv4 option. It needs
// CAP_NET_ADMIN or CAP_NET_RAW.
func (s *Socket) SetTransparent() error {
	if err := unix.SetsockoptInt(s.fd, unix.SOL_IP, unix.IP_TRANSPARENT, 1); err != nil {
		return fmt.Errorf("set IP_TRANSPARENT: %w", err)
	}
	return nil
}
