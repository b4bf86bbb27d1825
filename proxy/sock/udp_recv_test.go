package sock

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
)

func TestRecvBatch(t *testing.T) {
	ns := anycast(t)
	s := inNamespace(t, ns, func() (*Socket, error) { return ListenUDP(netip.MustParseAddrPort("[::]:9999")) })
	b := NewRecvBatch(4)
	if n, err := b.Recv(s); n != 0 || err != nil {
		t.Fatalf("received %d from an empty socket: %v", n, err)
	}
	for _, dst := range []string{"198.18.3.4:9999", "[2001:db8::5]:9999"} {
		c := inNamespace(t, ns, func() (net.Conn, error) { return net.Dial("udp", dst) })
		for _, size := range []int{3, 0, 65507, 5, 6} {
			if _, err := c.Write(make([]byte, size)); err != nil {
				t.Fatal(err)
			}
		}
		var sizes []int
		for _, want := range []int{4, 1, 0} {
			n, err := b.Recv(s)
			if n != want || err != nil {
				t.Fatalf("received %d, want %d: %v", n, want, err)
			}
			for i := range n {
				to, ok := b.OriginalDst(i)
				from := b.Source(i).AddrPort().String()
				if !ok || to.AddrPort().String() != dst || from != c.LocalAddr().String() {
					t.Errorf("from %s to %v, want %v to %s", from, to.AddrPort(), c.LocalAddr(), dst)
				}
				sizes = append(sizes, len(b.Train(i).Bytes))
			}
		}
		if fmt.Sprint(sizes) != "[3 0 65507 5 6]" {
			t.Errorf("sizes %v", sizes)
		}
	}
}

// TestTruncated receives into less room than a batch has.
func TestTruncated(t *testing.T) {
	ns := anycast(t)
	s := inNamespace(t, ns, func() (*Socket, error) { return ListenUDP(netip.MustParseAddrPort("[::]:9999")) })
	c := inNamespace(t, ns, func() (net.Conn, error) { return net.Dial("udp", "198.18.3.4:9999") })
	b := NewRecvBatch(1)
	b.iovecs[0].SetLen(100)
	for _, size := range []int{100, 101} {
		if _, err := c.Write(make([]byte, size)); err != nil {
			t.Fatal(err)
		}
		if n, err := b.Recv(s); n != 1 || err != nil || b.Truncated(0) != (size > 100) {
			t.Errorf("%d bytes: received %d, %v, truncated %v", size, n, err, b.Truncated(0))
		}
	}
}
