package sock

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// SetMSS bounds the segments of connections that a listener accepts from now on, to between 88 and 32767 bytes
// (TCP_MAXSEG in tcp(7)): its clients are told so in the SYN-ACK, if the route to them does not allow for less
// (tcp_make_synack in net/ipv4/tcp_output.c), and are sent no larger ones, TCP options included. Under SYN cookies what
// they are sent is 536 bytes at least, 1220 over IPv6: the least that a cookie can hold (net/ipv4/syncookies.c,
// net/ipv6/syncookies.c), and what every path can carry.
func (s *Socket) SetMSS(bytes int) error {
	if err := unix.SetsockoptInt(s.fd, unix.IPPROTO_TCP, unix.TCP_MAXSEG, bytes); err != nil {
		return fmt.Errorf("set TCP_MAXSEG to %d: %w", bytes, err)
	}
	return nil
}
