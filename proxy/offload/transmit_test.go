package offload

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"

	"anyport/bench/netlab"
	"anyport/proxy/sock"
)

// peers are an original destination and a client of each family.
var peers = []struct{ src, dst string }{
	{"198.18.3.4:53", "10.1.0.2:4000"},
	{"[2001:db8::5:6]:1", "[fd00:1::2]:4000"},
}

// newTransmit makes a Transmit in the proxy's namespace of a Trio whose prefixes are local.
func newTransmit(t *testing.T, trio *netlab.Trio, way Way) *Transmit {
	t.Helper()
	for _, p := range []netip.Prefix{netlab.Prefix4, netlab.Prefix6} {
		must(t, trio.Proxy.AddLocalRoute(p))
	}
	var transmit *Transmit
	must(t, trio.Proxy.Do(func() (err error) { transmit, err = OpenTransmit(way, 1); return err }))
	t.Cleanup(func() { must(t, trio.Proxy.Do(transmit.Close)) })
	return transmit
}

func endpoint(s string) sock.Addr { return sock.AddrFrom(netip.MustParseAddrPort(s)) }

func listen(t *testing.T, ns *netlab.Namespace, at string) *net.UDPConn {
	t.Helper()
	var c *net.UDPConn
	must(t, ns.Do(func() (err error) {
		c, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(at)))
		return err
	}))
	t.Cleanup(func() { c.Close() })
	return c
}

// expectTrain reads a train's datagrams and checks their source and content.
func expectTrain(t *testing.T, c *net.UDPConn, src string, payload []byte, size int) {
	t.Helper()
	buf := make([]byte, 1<<16)
	for len(payload) > 0 {
		must(t, c.SetReadDeadline(time.Now().Add(10*time.Second)))
		n, from, err := c.ReadFromUDPAddrPort(buf)
		must(t, err)
		want := payload[:min(size, len(payload))]
		if !bytes.Equal(buf[:n], want) || from != netip.MustParseAddrPort(src) {
			t.Fatalf("got %d bytes from %v, want %d from %s", n, from, len(want), src)
		}
		payload = payload[len(want):]
	}
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	return b
}

// TestTrains sends trains of many shapes to a client beyond a link. Its kernel checks the checksums.
func TestTrains(t *testing.T) {
	for _, way := range ways {
		trio := netlab.NewTrio(t)
		sender := newTransmit(t, trio, way).Sender(0)
		for _, p := range peers {
			client := listen(t, trio.Client, p.dst)
			src, dst := endpoint(p.src), endpoint(p.dst)
			for _, shape := range []struct{ size, bytes int }{
				{1400, 1400}, {1400, 1401}, {1400, 14000}, {1400, 65507}, {1452, 40000}, {1, 200}, {7, 7 * 130}, {512, 60000},
			} {
				t.Run(fmt.Sprintf("%s %s %v", way, p.dst, shape), func(t *testing.T) {
					payload := randomBytes(shape.bytes)
					train := sock.Train{Bytes: payload, Size: shape.size}
					if sent := sender.Send(&src, &dst, train, 0); sent != train.Count() {
						t.Fatalf("sent %d datagrams of %d", sent, train.Count())
					}
					expectTrain(t, client, p.src, payload, shape.size)
				})
			}
		}
	}
}

// TestTrainsGiveWay adds rules that see what the host sends, and others that do not.
func TestTrainsGiveWay(t *testing.T) {
	trio := netlab.NewTrio(t)
	transmit := newTransmit(t, trio, TCX)
	sender, client := transmit.Sender(0), listen(t, trio.Client, peers[0].dst)
	src, dst := endpoint(peers[0].src), endpoint(peers[0].dst)
	train := sock.Train{Bytes: randomBytes(5000), Size: 1000}
	for _, c := range []struct{ command, why string }{
		{"nft add table ip t", ""},
		{"nft add chain ip t in { type filter hook input priority 0; }", ""},
		{"nft add rule ip t in counter", ""},
		{"nft add chain ip t out { type filter hook output priority 0; }", ""},
		{"nft add rule ip t out counter", "nf_tables chain out of table t has rules"},
		{"nft flush chain ip t out", ""},
		{"iptables-legacy -t mangle -A POSTROUTING -o client0", "iptables table mangle has rules"},
		{"iptables-legacy -t mangle -F", ""},
		{"ip xfrm policy add dst 10.99.0.0/16 dir out tmpl proto esp mode tunnel", "there are IPsec policies"},
		{"ip xfrm policy flush", ""},
	} {
		shell(t, trio.Proxy, c.command)
		must(t, trio.Proxy.Do(func() error { transmit.look(); return nil }))
		want := train.Count()
		if c.why != "" {
			want = 0
		}
		if sent := sender.Send(&src, &dst, train, 0); sent != want || transmit.Suspended() != c.why {
			t.Errorf("%s: sent %d datagrams, suspended for %q, want %q", c.command, sent, transmit.Suspended(), c.why)
		}
		if want > 0 {
			expectTrain(t, client, peers[0].src, train.Bytes, train.Size)
		}
	}
}

// TestProgramRemoved takes the program off lo: nothing is sent any more, and the reason told.
func TestProgramRemoved(t *testing.T) {
	trio := netlab.NewTrio(t)
	transmit := newTransmit(t, trio, Clsact)
	shell(t, trio.Proxy, "tc qdisc del dev lo clsact")
	src, dst := endpoint(peers[0].src), endpoint(peers[0].dst)
	train := sock.Train{Bytes: randomBytes(5000), Size: 1000}
	for range 2 {
		sent := transmit.Sender(0).Send(&src, &dst, train, 0)
		must(t, trio.Proxy.Do(func() error { transmit.look(); return nil }))
		if sent != 0 || transmit.Suspended() != notRun {
			t.Errorf("sent %d datagrams, suspended for %q", sent, transmit.Suspended())
		}
	}
}

// TestSendAllocatesNothing sends trains, every one of which asks the routing tables.
func TestSendAllocatesNothing(t *testing.T) {
	trio := netlab.NewTrio(t)
	sender := newTransmit(t, trio, TCX).Sender(0)
	src, dst := endpoint(peers[1].src), endpoint(peers[1].dst)
	train, now := sock.Train{Bytes: randomBytes(5000), Size: 1000}, time.Duration(0)
	if n := testing.AllocsPerRun(100, func() {
		now += egressLife
		if sender.Send(&src, &dst, train, now) != train.Count() {
			t.Error("the train has not left")
		}
	}); n > 0 {
		t.Errorf("%v allocations for a train", n)
	}
}
