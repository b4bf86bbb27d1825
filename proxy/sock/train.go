package sock

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Train is datagrams of one sender that travel as one: pieces of Size bytes, of which the last may be shorter. With
// Size 0 it is a single datagram, which may be empty.
type Train struct {
	Bytes []byte
	Size  int
}

// JoinUDP lets the kernel join datagrams of one sender that come in together (udp(7), UDP_GRO, Linux 5.0): a sender's
// train, or what the device's driver has joined, costs one read instead of one for each datagram.
func JoinUDP(s *Socket) error {
	if err := unix.SetsockoptInt(s.fd, unix.SOL_UDP, unix.UDP_GRO, 1); err != nil {
		return fmt.Errorf("let datagrams be joined: %w", err)
	}
	return nil
}

// Count returns how many datagrams there are.
func (t Train) Count() int {
	if t.Size <= 0 || len(t.Bytes) <= t.Size {
		return 1
	}
	return (len(t.Bytes) + t.Size - 1) / t.Size
}

// Longest returns the size of the longest of the datagrams.
func (t Train) Longest() int {
	if t.Count() > 1 {
		return t.Size
	}
	return len(t.Bytes)
}

// Cut returns the first datagram, and the others, of which there are Count less one.
func (t Train) Cut() (first []byte, others Train) {
	if t.Count() == 1 {
		return t.Bytes, Train{}
	}
	return t.Bytes[:t.Size], Train{t.Bytes[t.Size:], t.Size}
}
