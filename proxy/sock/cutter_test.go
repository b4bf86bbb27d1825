package sock

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// TestQueueCut sends datagrams of all sizes in packets of several sizes, between others that are not cut: they come whole,
// in order, and no fragment is longer than it should be, nor much shorter.
func TestQueueCut(t *testing.T) {
	ns := anycast(t)
	raw := openRaw(t, ns, 8, func(err error) { t.Errorf("send: %v", err) })
	e := ends[1]
	dst := netip.MustParseAddrPort(e.dst)
	server := inNamespace(t, ns, func() (*net.UDPConn, error) {
		return net.ListenUDP("udp", net.UDPAddrFromAddrPort(dst))
	})
	control, err := server.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	control.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_IPV6, unix.IPV6_RECVFRAGSIZE, 1) })
	if err != nil {
		t.Fatal(err)
	}
	src, to := AddrFrom(netip.MustParseAddrPort(e.src)), AddrFrom(dst)
	for _, mtu := range []int{1280, 1281, 1287, 1288, 1400, 9000} {
		for _, size := range []int{0, 1, mtu - 48, mtu - 47, 2*mtu - 104, 2*mtu - 103, 20000, 65527} {
			before, payload, after := []byte("before"), make([]byte, size), []byte("after")
			fillBytes(rand.New(rand.NewPCG(uint64(size), 1)), payload)
			raw.Queue(&src, &to, nil, before)
			raw.QueueCut(&src, &to, payload, mtu)
			raw.Queue(&src, &to, nil, after)
			raw.Flush()
			for _, want := range [][]byte{before, payload, after} {
				got, fragment := readFragments(t, server)
				isCut := len(want) > mtu-48
				if !bytes.Equal(got, want) || isCut != (fragment > 0) || isCut && (fragment > mtu || fragment < mtu-7) {
					t.Fatalf("MTU %d: %d bytes came for %d, in fragments of %d", mtu, len(got), len(want), fragment)
				}
			}
		}
	}
}

// readFragments returns a datagram, and the size of its largest fragment; 0: it was not cut.
func readFragments(t *testing.T, c *net.UDPConn) (got []byte, fragment int) {
	t.Helper()
	buf, oob := make([]byte, MaxDatagram), make([]byte, 64)
	n, m, _, _, err := c.ReadMsgUDPAddrPort(buf, oob)
	if err != nil {
		t.Fatal(err)
	}
	if messages, err := unix.ParseSocketControlMessage(oob[:m]); err != nil || len(messages) > 0 {
		fragment = int(binary.NativeEndian.Uint32(messages[0].Data))
	}
	return buf[:n], fragment
}
