package udp

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"testing"

	"github.com/pires/go-proxyproto"

	"anyport/bench/netlab"
	"anyport/conf"
	"anyport/proxy/sock"
	"anyport/proxy/stats"
)

// headed is a client and an upstream of a route with a header.
type headed struct {
	*rig
	client, server *net.UDPConn
	nat            netip.AddrPort // known once the server has got something
}

func newHeaded(t *testing.T, kind conf.ProxyProtocol, dst string) *headed {
	t.Helper()
	r := newRig(t, 100, spec{upstream: to("10.2.0.2:7777"), proxy: kind})
	r.run(t)
	return &headed{rig: r, server: listen(t, r.Upstream, "[::]:7777"), client: dial(t, r.Client, dst)}
}

// forwarded sends a datagram and returns what the upstream gets.
func (h *headed) forwarded(t *testing.T, payload []byte) (got []byte) {
	t.Helper()
	_, err := h.client.Write(payload)
	must(t, err)
	got, h.nat = receive(t, h.server)
	return got
}

func (h *headed) answer(t *testing.T, payload []byte) {
	t.Helper()
	_, err := h.server.WriteToUDPAddrPort(payload, h.nat)
	must(t, err)
}

// wantAnswer wants a datagram to be the next that the client gets.
func (h *headed) wantAnswer(t *testing.T, want []byte) {
	t.Helper()
	if got, _ := receive(t, h.client); !bytes.Equal(got, want) {
		t.Fatalf("the client got %d bytes, want %d others", len(got), len(want))
	}
}

// wantTooBig sends a datagram that is one byte too long for IPv4 with its header.
func (h *headed) wantTooBig(t *testing.T, header int) {
	t.Helper()
	_, err := h.client.Write(randomBytes(65507 - header + 1))
	must(t, err)
	netlab.Eventually(t, "the datagram to be too big", func() bool { return h.dropped(stats.DropTooBig) == 1 })
}

var headedDsts = []string{"198.18.0.1:9", "[2001:db8::1]:9"}

// checkProxyV2 wants a PROXY header and payload.
func checkProxyV2(t *testing.T, got []byte, client net.Addr, dst string, payload []byte) {
	t.Helper()
	in := bufio.NewReaderSize(bytes.NewReader(got), 1<<16)
	header, err := proxyproto.Read(in)
	must(t, err)
	if header.SourceAddr.String() != client.String() || header.DestinationAddr.String() != dst ||
		!header.TransportProtocol.IsDatagram() || header.Command != proxyproto.PROXY {
		t.Fatalf("header %+v", header)
	}
	if rest, _ := in.Peek(in.Buffered()); !bytes.Equal(rest, payload) {
		t.Fatalf("%d bytes behind the header, want %d", len(rest), len(payload))
	}
}

// TestProxyV2 reads the PROXY header before each datagram that the upstream gets.
func TestProxyV2(t *testing.T) {
	for i, dst := range headedDsts {
		h := newHeaded(t, conf.ProxyV2, dst)
		length := []int{28, 52}[i]
		for _, size := range []int{0, 5, 3000, 65507 - length} {
			payload := randomBytes(size)
			checkProxyV2(t, h.forwarded(t, payload), h.client.LocalAddr(), dst, payload)
			h.answer(t, payload)
			h.wantAnswer(t, payload)
		}
		h.wantTooBig(t, length)
	}
}

// TestProxyV2First wants the PROXY header before the first datagram of a flow that could be sent, and no other.
func TestProxyV2First(t *testing.T) {
	for i, dst := range headedDsts {
		h := newHeaded(t, conf.ProxyV2First, dst)
		h.wantTooBig(t, []int{28, 52}[i])
		checkProxyV2(t, h.forwarded(t, []byte("first")), h.client.LocalAddr(), dst, []byte("first"))
		for _, size := range []int{5, 0, 65507} {
			payload := randomBytes(size)
			if got := h.forwarded(t, payload); !bytes.Equal(got, payload) {
				t.Fatalf("%d bytes, want %d", len(got), size)
			}
			h.answer(t, payload)
			h.wantAnswer(t, payload)
		}
	}
}

// sppHeader is the 38 bytes as their specification has them, from other types than ours.
func sppHeader(client, proxy netip.AddrPort) []byte {
	b := []byte{0x56, 0xec}
	for _, a := range []netip.AddrPort{client, proxy} {
		ip := a.Addr().As16()
		b = append(b, ip[:]...)
	}
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, client.Port()), proxy.Port())
}

// TestSPP wants the header both ways, and no answer to pass whose header is another than its flow's.
func TestSPP(t *testing.T) {
	for _, dst := range headedDsts {
		h := newHeaded(t, conf.ProxySPP, dst)
		header := sppHeader(h.client.LocalAddr().(*net.UDPAddr).AddrPort(), netip.MustParseAddrPort(dst))
		for _, size := range []int{0, 5, 3000, 65507 - sppBytes} {
			payload := randomBytes(size)
			whole := append(bytes.Clone(header), payload...)
			if got := h.forwarded(t, payload); !bytes.Equal(got, whole) {
				t.Fatalf("the upstream got %x..., want %x...", got[:min(sppBytes, len(got))], header)
			}
			h.answer(t, whole)
			h.wantAnswer(t, payload)
		}
		bad := [][]byte{nil, []byte("no header"), header[:sppBytes-1]}
		for _, at := range []int{0, 2, 17, 18, 33, 34, 37} { // magic, client, proxy, client's port, proxy's port
			other := bytes.Clone(header)
			other[at] ^= 1
			bad = append(bad, append(other, "stray"...))
		}
		for _, b := range bad {
			h.answer(t, b)
		}
		h.answer(t, append(bytes.Clone(header), "good"...))
		h.wantAnswer(t, []byte("good"))
		if n := h.dropped(stats.DropBadHeader); n != uint64(len(bad)) {
			t.Errorf("%d answers dropped for their header, want %d", n, len(bad))
		}
		h.wantTooBig(t, sppBytes)
	}
}

// TestClientHeadersAllocateNothing builds and takes off headers in the worker's own memory.
func TestClientHeadersAllocateNothing(t *testing.T) {
	var room [clientHeaderBytes]byte
	for _, dst := range headedDsts {
		addr := netip.MustParseAddrPort(dst)
		key := flowKey{client: sock.AddrFrom(addr), dst: sock.AddrFrom(addr)}
		answer := appendSPP(nil, &key)
		if n := testing.AllocsPerRun(100, func() {
			for _, kind := range []conf.ProxyProtocol{conf.ProxyV2, conf.ProxySPP} {
				if b := appendClientHeader(room[:0], kind, &key); &b[0] != &room[0] || len(b)%2 != 0 {
					t.Errorf("a header of %d bytes", len(b))
				}
			}
			if _, ok := trimSPP(answer, &key); !ok {
				t.Error("the header is not its own")
			}
		}); n > 0 {
			t.Errorf("%v allocations", n)
		}
	}
}
