package udp

import (
	"bufio"
	"bytes"
	"testing"

	"github.com/pires/go-proxyproto"

	"anyport/bench/netlab"
	"anyport/proxy/stats"
)

// TestProxyHeader reads the PROXY header before each datagram that the upstream gets.
func TestProxyHeader(t *testing.T) {
	r := newRig(t, 100, spec{upstream: to("10.2.0.2:7777"), proxy: 2})
	r.run(t)
	server := listen(t, r.Upstream, "[::]:7777")
	for _, c := range []struct {
		dst     string
		headLen int
	}{{"198.18.0.1:9", 28}, {"[2001:db8::1]:9", 52}} {
		client := dial(t, r.Client, c.dst)
		for _, size := range []int{0, 5, 3000, 65507 - c.headLen} {
			payload := randomBytes(size)
			_, err := client.Write(payload)
			must(t, err)
			got, nat := receive(t, server)
			in := bufio.NewReaderSize(bytes.NewReader(got), 1<<16)
			header, err := proxyproto.Read(in)
			must(t, err)
			if header.SourceAddr.String() != client.LocalAddr().String() || header.DestinationAddr.String() != c.dst ||
				!header.TransportProtocol.IsDatagram() {
				t.Fatalf("header %+v", header)
			}
			if rest, _ := in.Peek(in.Buffered()); !bytes.Equal(rest, payload) {
				t.Fatalf("%d bytes behind the header, want %d", len(rest), size)
			}
			_, err = server.WriteToUDPAddrPort([]byte("answer"), nat)
			must(t, err)
			if got, _ := receive(t, client); string(got) != "answer" {
				t.Fatalf("the client got %q", got)
			}
		}
		_, err := client.Write(randomBytes(65507 - c.headLen + 1))
		must(t, err)
	}
	netlab.Eventually(t, "datagrams to be too big with their header", func() bool { return r.dropped(stats.DropTooBig) == 2 })
}
