package udp

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"testing"

	"anyport/bench/netlab"
	"anyport/proxy/stats"
)

// TestLargestIPv6 sends the largest datagram there is, 65,527 bytes, which only IPv6 can carry, and checks that one
// family's limit is not applied to the other's.
func TestLargestIPv6(t *testing.T) {
	r := newRig(t, 100, spec{upstream: to("[fd00:2::2]:7777")})
	r.run(t)
	echo(t, listen(t, r.Upstream, "[::]:7777"))
	exchange(t, dial(t, r.Client, "[2001:db8::1]:9"), randomBytes(65527))

	r.route(t, echoUpstream)
	c := dial(t, r.Client, "[2001:db8::1]:10")
	_, err := c.Write(randomBytes(65527))
	must(t, err)
	netlab.Eventually(t, "the datagram to be too big for IPv4", func() bool { return r.dropped(stats.DropTooBig) == 1 })
	exchange(t, c, randomBytes(65507))
}

// TestOversizedReply has an upstream answer more than the client's family can carry.
func TestOversizedReply(t *testing.T) {
	r := newRig(t, 100, spec{upstream: to("[fd00:2::2]:7777")})
	r.run(t)
	server := listen(t, r.Upstream, "[::]:7777")
	c := dial(t, r.Client, "198.18.0.1:9")
	_, err := c.Write([]byte("?"))
	must(t, err)
	_, nat := receive(t, server)
	for _, n := range []int{65527, 65508, 65507} {
		_, err = server.WriteToUDPAddrPort(randomBytes(n), nat)
		must(t, err)
	}
	if got, _ := receive(t, c); len(got) != 65507 || r.dropped(stats.DropTooBig) != 2 {
		t.Fatalf("got %d bytes and dropped %d", len(got), r.dropped(stats.DropTooBig))
	}
}

// TestSmallerMTU narrows the links while a flow is open: large datagrams are cut to what fits from then on.
func TestSmallerMTU(t *testing.T) {
	r := newRig(t, 100, spec{upstream: to("[fd00:2::2]:7777")})
	r.run(t)
	echo(t, listen(t, r.Upstream, "[::]:7777"))
	c := dial(t, r.Client, "[2001:db8::1]:9")
	exchange(t, c, randomBytes(8000))
	for _, end := range []struct {
		ns   *netlab.Namespace
		link string
	}{{r.Client, "proxy0"}, {r.Proxy, "client0"}, {r.Proxy, "upstream0"}, {r.Upstream, "proxy0"}} {
		shell(t, end.ns, "ip", "link", "set", end.link, "mtu", "1280")
	}
	for _, n := range []int{1232, 1233, 1452, 8000, 65507} {
		exchange(t, c, randomBytes(n))
	}
}

var sizes = []int{0, 1, 512, 1472, 1473, 8000, 65507}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	return b
}

// exchange sends a datagram over a connected socket and checks that the very same comes back.
func exchange(t testing.TB, c *net.UDPConn, payload []byte) {
	t.Helper()
	_, err := c.Write(payload)
	must(t, err)
	if got, _ := receive(t, c); !bytes.Equal(got, payload) {
		t.Fatalf("sent %d bytes, got %d others back", len(payload), len(got))
	}
}

// TestEcho sends datagrams of all sizes through each pair of families, from a client beyond a link and from one on the
// proxy's own host, to an upstream beyond a link and to one on the proxy's own host. The client's socket is connected,
// so it sees only answers from the exact address and port that it dialled.
func TestEcho(t *testing.T) {
	for _, up := range []string{"10.2.0.2:7777", "[fd00:2::2]:7777", "127.0.0.1:7777", "[::1]:7777"} {
		r := newRig(t, 1000, spec{upstream: to(up)})
		r.run(t)
		echo(t, listen(t, r.Upstream, "[::]:7777"))
		echo(t, listen(t, r.Proxy, "[::]:7777"))
		for _, client := range []*netlab.Namespace{r.Client, r.Proxy} {
			for _, dst := range []string{"198.18.3.4:80", "[2001:db8:0:5::6]:53"} {
				t.Run(fmt.Sprintf("%s to %s by %s", client.Name(), dst, up), func(t *testing.T) {
					c := dial(t, client, dst)
					for _, n := range sizes {
						exchange(t, c, randomBytes(n))
					}
				})
			}
		}
	}
}
