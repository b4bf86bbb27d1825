package tcp

import (
	"bufio"
	"io"
	"testing"

	"github.com/pires/go-proxyproto"

	"anyport/conf"
	"anyport/proxy/route"
	"anyport/proxy/stats"
)

func TestProxyHeader(t *testing.T) {
	for _, path := range paths {
		for version, name := range map[conf.ProxyProtocol]string{conf.ProxyV1: "v1", conf.ProxyV2: "v2", conf.ProxyV2First: "v2_first"} {
			t.Run(path.name+"/"+name, func(t *testing.T) {
				need(t, path.client, path.upstream)
				testProxyHeader(t, path.client, path.upstream, version)
			})
		}
	}
}

func testProxyHeader(t *testing.T, from, to family, version conf.ProxyProtocol) {
	up := newServer(t, to.upstream)
	r := newRig(t, from, setup{route: route.Route{ProxyProtocol: version}, upstreams: addrs(up)})
	client := r.dial()
	upstream := up.accept()
	in := bufio.NewReader(upstream)
	header, err := proxyproto.Read(in) // although the client has not said a word
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case header.Version != min(byte(version), 2) || header.Command != proxyproto.PROXY:
		t.Errorf("header of version %d, command %d", header.Version, header.Command)
	case header.SourceAddr.String() != client.LocalAddr().String():
		t.Errorf("source %s, want %s", header.SourceAddr, client.LocalAddr())
	case header.DestinationAddr.String() != r.addr.String():
		t.Errorf("destination %s, want %s", header.DestinationAddr, r.addr)
	}
	client.send(some)
	if _, err := io.ReadFull(in, make([]byte, some)); err != nil {
		t.Fatal(err)
	}
	upstream.send(lots)
	client.expect(lots)
	client.fin()
	upstream.fin()
	r.awaitEnded(stats.Done, 1)
	if sum := r.totals(); sum.BytesIn != some || sum.BytesOut != lots {
		t.Errorf("%d bytes in and %d out: the header must not count", sum.BytesIn, sum.BytesOut)
	}
}

func TestProxyHeaderReset(t *testing.T) {
	up := newServer(t, v4.upstream)
	r := newRig(t, v4, setup{route: route.Route{ProxyProtocol: 2}, upstreams: addrs(up)})
	client := r.dial()
	up.accept().rst()
	client.expectRST()
	r.awaitEnded(stats.UpstreamReset, 1)
}
