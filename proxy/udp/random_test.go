package udp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"anyport/bench/netlab"
	"anyport/proxy/stats"
)

// TestRandomDatagrams sends a million datagrams of random flows, sizes and content both ways through the sockets, by each
// way for trains and each pair of families: alone, in fragments and in trains, with and without a checksum, which the
// sender fills in, the last device, or anyone between. Each arrives whole, in order and from the right address, and no
// kernel has found a bad checksum.
func TestRandomDatagrams(t *testing.T) {
	datagrams := 1_000_000
	if testing.Short() {
		datagrams = 50_000
	}
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) { checkRandom(t, way, datagrams/len(ways)) })
	}
}

func checkRandom(t *testing.T, way transmitWay, datagrams int) {
	seed := rand.Uint64()
	t.Logf("seed %#x", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	r := newRigBy(t, way, 1000, spec{prefix: netip.MustParsePrefix("198.18.0.0/21"), upstream: to("10.2.0.2:7777")},
		spec{prefix: netip.MustParsePrefix("198.18.8.0/21"), upstream: to("[fd00:2::2]:7777")},
		spec{prefix: netip.MustParsePrefix("2001:db8::/49"), upstream: to("10.2.0.2:7777")},
		spec{prefix: netip.MustParsePrefix("2001:db8:0:8000::/49"), upstream: to("[fd00:2::2]:7777")})
	r.run(t)
	v4, v6 := listen(t, r.Upstream, "10.2.0.2:7777"), listen(t, r.Upstream, "[fd00:2::2]:7777")
	var flows []*randomFlow
	for i := range 40 {
		dst := fmt.Sprintf("198.18.%d.%d:%d", rng.IntN(16), rng.IntN(256), 1+rng.IntN(65535))
		if i%2 == 1 {
			dst = fmt.Sprintf("[2001:db8:0:%x::%x]:%d", rng.IntN(1<<16), rng.IntN(1<<16), 1+rng.IntN(65535))
		}
		flows = append(flows, newRandomFlow(t, r, dst, v4, v6))
	}
	var want stats.Totals
	for round, sent := 0, 0; sent < datagrams; round++ {
		must(t, r.SetTransmitChecksums(round%8))
		for end := sent + datagrams/16; sent < end; {
			sent += flows[rng.IntN(len(flows))].burst(t, rng, &want)
		}
	}
	for _, ns := range []*netlab.Namespace{r.Client, r.Proxy, r.Upstream} {
		if n, err := ns.BadUDPChecksums(); n != 0 || err != nil {
			t.Errorf("%d bad checksums at the %s, %v", n, ns.Name(), err)
		}
	}
	var got stats.Totals
	for i := range 4 {
		shard := stats.Sum(r.registry.Route(fmt.Sprint(i)).UDP)
		got.PacketsIn, got.PacketsOut = got.PacketsIn+shard.PacketsIn, got.PacketsOut+shard.PacketsOut
		got.BytesIn, got.BytesOut = got.BytesIn+shard.BytesIn, got.BytesOut+shard.BytesOut
	}
	if got.PacketsIn != want.PacketsIn+uint64(len(flows)) || got.PacketsOut != want.PacketsOut || got.BytesIn != want.BytesIn || got.BytesOut != want.BytesOut {
		t.Errorf("counted %+v, want %+v and %d empty datagrams", got, want, len(flows))
	}
}

// randomFlow is a flow and its sockets. The client's is connected: it takes answers from the original destination alone.
type randomFlow struct {
	client, upstream *net.UDPConn
	nat              netip.AddrPort
}

// newRandomFlow opens a flow with an empty datagram, which comes to one of the two upstreams.
func newRandomFlow(t *testing.T, r *rig, dst string, v4, v6 *net.UDPConn) *randomFlow {
	t.Helper()
	f := &randomFlow{client: dial(t, r.Client, dst), upstream: v4}
	to := netip.MustParseAddrPort(dst).Addr()
	for _, p := range []string{"198.18.8.0/21", "2001:db8:0:8000::/49"} {
		if netip.MustParsePrefix(p).Contains(to) {
			f.upstream = v6
		}
	}
	_, err := f.client.Write(nil)
	must(t, err)
	_, f.nat = receive(t, f.upstream)
	return f
}

// burst sends some datagrams one way, reads them, and adds them to what should be counted. It returns how many.
func (f *randomFlow) burst(t *testing.T, rng *rand.Rand, want *stats.Totals) int {
	t.Helper()
	size, n, together := randomShape(rng)
	payload := randomContent(rng, size*n-rng.IntN(min(size, 100)+1))
	if len(payload) <= size*(n-1) { // the last one, which may be shorter, is empty
		n = max(1, n-1)
		payload = payload[:min(len(payload), n*size)]
	}
	from, to, peer := f.client, f.upstream, netip.AddrPort{}
	packets, total := &want.PacketsIn, &want.BytesIn
	if rng.IntN(2) == 0 {
		from, to, peer = f.upstream, f.client, f.nat
		packets, total = &want.PacketsOut, &want.BytesOut
	}
	if isV4 := from.LocalAddr().(*net.UDPAddr).IP.To4() != nil; isV4 && !together { // others need a checksum
		without := rng.IntN(2)
		control(t, from, func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_NO_CHECK, without) })
		defer control(t, from, func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_NO_CHECK, 0) })
	}
	sendAll(t, from, peer, payload, size, together)
	buf := make([]byte, 1<<16)
	must(t, to.SetReadDeadline(time.Now().Add(netlab.Patience)))
	for i := range n {
		part := payload[i*size : min((i+1)*size, len(payload))]
		length, source, err := to.ReadFromUDPAddrPort(buf)
		if err != nil {
			t.Fatalf("datagram %d of %d of %d bytes: %v", i, n, size, err)
		}
		if !bytes.Equal(buf[:length], part) || to == f.upstream && netip.AddrPortFrom(source.Addr().Unmap(), source.Port()) != f.nat {
			t.Fatalf("datagram %d of %d: %d bytes from %s, want %d from %s", i, n, length, source, len(part), f.nat)
		}
	}
	*packets += uint64(n)
	*total += uint64(len(payload))
	return n
}

// randomShape returns a size, how many datagrams there are of it, and whether they are a train. One of a hundred is longer
// than a packet can be.
func randomShape(rng *rand.Rand) (size, n int, together bool) {
	if rng.IntN(100) == 0 {
		return 1473 + rng.IntN(65507-1473+1), 1, false
	}
	size = rng.IntN(1453)
	if size == 0 {
		return 0, 1, false
	}
	n = 1 + rng.IntN(min(60, 60000/size))
	return size, n, n > 1 && rng.IntN(2) == 0
}

// randomContent returns random bytes; now and then they are all the same, of which checksums like to be zero.
func randomContent(rng *rand.Rand, n int) []byte {
	b := make([]byte, max(n, 0)+7)
	if fill := rng.Uint32(); fill%8 == 0 {
		for i := range b {
			b[i] = byte(fill >> 8)
		}
	} else {
		for i := 0; i+8 <= len(b); i += 8 {
			binary.NativeEndian.PutUint64(b[i:], rng.Uint64())
		}
	}
	return b[:max(n, 0)]
}

// sendAll sends datagrams of one size, the last one maybe shorter, together or one by one.
func sendAll(t *testing.T, c *net.UDPConn, peer netip.AddrPort, payload []byte, size int, together bool) {
	t.Helper()
	if together {
		_, _, err := c.WriteMsgUDPAddrPort(payload, segment(binary.NativeEndian.AppendUint16(nil, uint16(size))), peer)
		must(t, err)
		return
	}
	for first := true; first || len(payload) > 0; first = false {
		n := min(size, len(payload))
		_, _, err := c.WriteMsgUDPAddrPort(payload[:n], nil, peer)
		must(t, err)
		payload = payload[n:]
	}
}
