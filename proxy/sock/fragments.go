package sock

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// NoteFragments has [RecvBatch.Fragmented] tell which datagrams of a socket came in fragments (ip(7), IP_RECVFRAGSIZE,
// Linux 4.10).
func NoteFragments(s *Socket) error {
	err := unix.SetsockoptInt(s.fd, unix.SOL_IP, unix.IP_RECVFRAGSIZE, 1)
	err6 := unix.SetsockoptInt(s.fd, unix.SOL_IPV6, unix.IPV6_RECVFRAGSIZE, 1)
	if errors.Is(err6, unix.ENOPROTOOPT) { // an AF_INET socket
		err6 = nil
	}
	if err = errors.Join(err, err6); err != nil {
		return fmt.Errorf("note fragments: %w", err)
	}
	return nil
}

// Fragmented reports whether datagram i came in fragments.
func (b *RecvBatch) Fragmented(i int) bool {
	for control := b.controlOf(i); len(control) > 0; {
		var m message
		if m, control = nextMessage(control); m.data == nil {
			break
		}
		if m.level == unix.SOL_IP && m.kind == unix.IP_RECVFRAGSIZE || m.level == unix.SOL_IPV6 && m.kind == unix.IPV6_RECVFRAGSIZE {
			return true
		}
	}
	return false
}
