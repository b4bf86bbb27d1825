package offload

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"anyport/bench/netlab"
)

// TestRandomPackets sends a million datagrams of random flows, sizes and content both ways, alone and in trains, with and
// without a checksum, whose checksums are filled in by the sender, by the last device, or anywhere between. Receivers get
// every one, whole, and their kernels have found no bad checksum.
func TestRandomPackets(t *testing.T) {
	packets := 1_000_000
	if testing.Short() {
		packets = 50_000
	}
	seed := rand.Uint64()
	t.Logf("seed %#x", seed)
	b := newBed(t, 1000)
	rng := rand.New(rand.NewPCG(seed, 0))
	var flows []*randomFlow
	for i := range 20 {
		for _, f := range families {
			flows = append(flows, newRandomFlow(t, b, f, i, rng))
		}
	}
	sent := 0
	for round := 0; sent < packets; round++ {
		must(t, b.SetTransmitChecksums(round%8))
		for end := sent + packets/32; sent < end; {
			f := flows[rng.IntN(len(flows))]
			sent += f.burst(t, rng)
		}
	}
	for _, ns := range []*netlab.Namespace{b.Client, b.Upstream} {
		if n, err := ns.BadUDPChecksums(); n != 0 || err != nil {
			t.Errorf("%d bad checksums at the %s, %v", n, ns.Name(), err)
		}
	}
	for _, f := range flows {
		if got := b.table.Withdraw(f.slot); got.PacketsIn != f.want.PacketsIn || got.BytesIn != f.want.BytesIn ||
			got.PacketsOut != f.want.PacketsOut || got.BytesOut != f.want.BytesOut {
			t.Errorf("a flow has carried %+v, want %+v", got, f.want)
		}
	}
	if left := b.outcome(t, "no_memory") + b.outcome(t, "too_big") + b.outcome(t, "no_route"); left != 0 {
		t.Errorf("%d packets were not forwarded", left)
	}
}

// randomFlow is a flow between random ports, and its sockets.
type randomFlow struct {
	slot             uint32
	client, upstream *net.UDPConn
	nat              netip.AddrPort
	v4               bool
	want             Usage
}

func newRandomFlow(t *testing.T, b *bed, f family, i int, rng *rand.Rand) *randomFlow {
	t.Helper()
	at := func(s string, first, n int) string {
		return netip.AddrPortFrom(netip.MustParseAddrPort(s).Addr(), uint16(first+i*n+rng.IntN(n))).String()
	}
	var original string
	if f.name == "v4" {
		original = fmt.Sprintf("198.18.%d.%d:1", rng.IntN(16), rng.IntN(256))
	} else {
		original = fmt.Sprintf("[2001:db8:0:%x:%x:%x::%x]:1", rng.IntN(1<<16), rng.IntN(1<<16), rng.IntN(1<<16), rng.IntN(1<<16))
	}
	f.client, f.original = at(f.client, 1024, 3000), at(original, 1, 3000)
	f.nat, f.upstream = at(f.nat, 10000, 1000), at(f.upstream, 1024, 3000)
	slot, ok := b.table.Offer(f.flow())
	if !ok {
		t.Fatal("a flow was not taken")
	}
	return &randomFlow{slot: slot, client: f.dial(t, b), upstream: f.listen(t, b), nat: netip.MustParseAddrPort(f.nat), v4: f.name == "v4"}
}

// burst sends some datagrams one way and reads them. It returns how many.
func (f *randomFlow) burst(t *testing.T, rng *rand.Rand) int {
	t.Helper()
	from, to, peer := f.client, f.upstream, (*net.UDPAddr)(nil)
	packets, bytes := &f.want.PacketsIn, &f.want.BytesIn
	if rng.IntN(2) == 0 {
		from, to, peer = f.upstream, f.client, net.UDPAddrFromAddrPort(f.nat)
		packets, bytes = &f.want.PacketsOut, &f.want.BytesOut
	}
	together, without := rng.IntN(2) == 0, 0
	if f.v4 && !together { // IPv6 forbids datagrams without a checksum, and the kernel such trains
		without = rng.IntN(2)
	}
	control(t, from, option(unix.SOL_SOCKET, unix.SO_NO_CHECK, without))
	size := 5 + rng.IntN(1400)
	n := 1 + rng.IntN(min(60, 60000/size))
	train := make([]byte, 0, n*size)
	for i := range n {
		length := size
		if i == n-1 {
			length = 4 + rng.IntN(size-3) // the last one of a train may be shorter
		}
		train = appendDatagram(train, length, rng)
	}
	writeTrain(t, from, peer, train, size, together)
	buf := make([]byte, 1<<16)
	for got := range n {
		must(t, to.SetReadDeadline(time.Now().Add(netlab.Patience)))
		length, err := to.Read(buf)
		if err != nil {
			t.Fatalf("%d of %d datagrams of %d bytes: %v", got, n, size, err)
		}
		if crc32.ChecksumIEEE(buf[4:length]) != binary.BigEndian.Uint32(buf) {
			t.Fatalf("a datagram of %d bytes is not what was sent", length)
		}
	}
	*packets += uint64(n)
	*bytes += uint64(len(train))
	return n
}

// appendDatagram appends random bytes after their CRC; now and then they are all ones, of which checksums like to be zero.
func appendDatagram(b []byte, size int, rng *rand.Rand) []byte {
	start := len(b)
	b = append(b, make([]byte, size)...)
	body := b[start+4:]
	if fill := rng.Uint32(); fill%8 != 0 {
		for i := 0; i+8 <= len(body); i += 8 {
			binary.NativeEndian.PutUint64(body[i:], rng.Uint64())
		}
	} else {
		for i := range body {
			body[i] = byte(fill >> 8)
		}
	}
	binary.BigEndian.PutUint32(b[start:], crc32.ChecksumIEEE(body))
	return b
}

// writeTrain sends datagrams of one size, the last one maybe shorter, together or one by one.
func writeTrain(t *testing.T, c *net.UDPConn, peer *net.UDPAddr, train []byte, size int, together bool) {
	t.Helper()
	if together && len(train) > size {
		_, _, err := c.WriteMsgUDP(train, trainMessage(size), peer)
		must(t, err)
		return
	}
	for len(train) > 0 {
		n := min(size, len(train))
		_, _, err := c.WriteMsgUDP(train[:n], nil, peer)
		must(t, err)
		train = train[n:]
	}
}
