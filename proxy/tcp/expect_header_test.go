package tcp

import (
	"bufio"
	"fmt"
	"io"
	"net/netip"
	"testing"
	"time"

	"github.com/gaissmai/bart"
	"github.com/pires/go-proxyproto"

	"anyport/bench/netlab"
	"anyport/conf"
	"anyport/proxy/route"
	"anyport/proxy/sock"
	"anyport/proxy/stats"
)

// everybody is every sender: each has to send a header.
var everybody = senders("0.0.0.0/0", "::/0")

func senders(prefixes ...string) *bart.Lite {
	set := new(bart.Lite)
	for _, p := range prefixes {
		set.Insert(netip.MustParsePrefix(p))
	}
	return set
}

// introduce sends a PROXY header, and returns the client that it names.
func (p *peer) introduce() string {
	p.t.Helper()
	const named = "192.0.2.1:56324"
	p.write(string(appendHeader(nil, conf.ProxyV2, addr(named), addr("198.18.0.1:443"))))
	return named
}

// write sends a text that is no noise.
func (p *peer) write(text string) {
	p.t.Helper()
	if _, err := io.WriteString(p, text); err != nil {
		p.t.Fatalf("%s writes: %v", p.name, err)
	}
}

// However a header arrives, exactly its bytes go, and the data around a segment's edge stays whole.
func TestHeaderInFragments(t *testing.T) {
	for _, f := range []family{v4, v6} {
		t.Run(f.name, func(t *testing.T) {
			need(t, f)
			for name, c := range wholeHeaders {
				t.Run(name, func(t *testing.T) {
					whole := c.text + string(noise[:some])
					testHeader(t, f, c.client, whole)
					testHeader(t, f, c.client, whole[:1], whole[1:])
					testHeader(t, f, c.client, whole[:len(c.text)], whole[len(c.text):])
					testHeader(t, f, c.client, whole[:len(c.text)-1], whole[len(c.text)-1:len(c.text)+1],
						whole[len(c.text)+1:])
				})
			}
		})
	}
}

// testHeader sends a header and noise, each segment once the one before has arrived.
func testHeader(t *testing.T, f family, named string, segments ...string) {
	t.Helper()
	up := newServer(t, f.upstream)
	r := newRig(t, f, setup{route: route.Route{HeaderSenders: everybody, HeaderTimeout: time.Minute}, upstreams: addrs(up)})
	client := r.dial()
	if named == "" {
		named = client.LocalAddr().String()
	}
	for _, s := range segments {
		client.write(s)
		client.awaitAcked()
	}
	upstream := up.accept()
	upstream.expect(some)
	upstream.send(lots)
	client.expect(lots)
	client.fin()
	upstream.expectFIN()
	upstream.fin()
	client.expectFIN()
	r.awaitEnded(stats.Done, 1)
	rec := r.records()[0]
	if rec.Client.String() != named || rec.Destination != r.addr || rec.BytesIn != some || rec.BytesOut != lots {
		t.Errorf("record %+v, want client %s, %d bytes in", rec, named, some)
	}
}

// A header that arrives byte by byte wakes the worker each time and is taken in the end.
func TestHeaderByteByByte(t *testing.T) {
	c := wholeHeaders["TCP6"]
	var segments []string
	for i := range c.text {
		segments = append(segments, c.text[i:i+1])
	}
	testHeader(t, v4, c.client, append(segments, string(noise[:some]))...)
}

// The client that a header names goes on to the upstream, with the destination of the connection itself.
func TestHeaderToHeader(t *testing.T) {
	for _, path := range paths {
		for _, version := range []conf.ProxyProtocol{conf.ProxyV1, conf.ProxyV2} {
			for _, named := range []string{"192.0.2.1:56324", "[2001:db8::1]:56324"} {
				t.Run(fmt.Sprintf("%s/v%d/%s", path.name, version, named), func(t *testing.T) {
					need(t, path.client, path.upstream)
					testHeaderToHeader(t, path.client, path.upstream, version, named)
				})
			}
		}
	}
}

func testHeaderToHeader(t *testing.T, from, to family, version conf.ProxyProtocol, named string) {
	up := newServer(t, to.upstream)
	r := newRig(t, from, setup{route: route.Route{HeaderSenders: everybody, ProxyProtocol: version}, upstreams: addrs(up)})
	client := r.dial()
	client.write(string(appendHeader(nil, version, addr(named), addr("203.0.113.9:999"))))
	client.send(some)
	in := bufio.NewReader(up.accept())
	got, err := proxyproto.Read(in)
	if err != nil {
		t.Fatal(err)
	}
	if !sameAddr(got.SourceAddr, named) || !sameAddr(got.DestinationAddr, r.addr.String()) {
		t.Errorf("header %+v, want one of %s to %s", got, named, r.addr)
	}
	if n, err := io.ReadFull(in, make([]byte, some)); err != nil {
		t.Errorf("%d bytes behind the header: %v", n, err)
	}
}

// Who is not listed is a plain client, and what looks like a header is data.
func TestHeaderOfAStranger(t *testing.T) {
	for _, f := range []family{v4, v6} {
		t.Run(f.name, func(t *testing.T) {
			need(t, f)
			up := newServer(t, f.upstream)
			r := newRig(t, f, setup{route: route.Route{HeaderSenders: senders("203.0.113.0/24", "2001:db8:5::/48")},
				upstreams: addrs(up)})
			client := r.dial()
			upstream := up.accept() // although the client has not said a word
			text := wholeHeaders["TCP4"].text
			client.write(text)
			got := make([]byte, len(text))
			if _, err := io.ReadFull(upstream, got); err != nil || string(got) != text {
				t.Errorf("upstream got %q, %v", got, err)
			}
			client.fin()
			upstream.fin()
			r.awaitEnded(stats.Done, 1)
			if rec := r.records()[0]; rec.Client.String() != client.LocalAddr().String() || rec.BytesIn != uint64(len(text)) {
				t.Errorf("record: %+v", rec)
			}
		})
	}
}

// headerEndings are the ways for a connection to end before its header is there.
var headerEndings = []struct {
	name   string
	script func(client *peer)
	reason stats.Reason
}{
	{"no header", func(client *peer) {
		client.write("GET / HTTP/1.1\r\n\r\n")
		client.expectRST()
	}, stats.ProxyHeaderInvalid},
	{"malformed in its second segment", func(client *peer) {
		client.write("PROXY TCP4 ")
		client.awaitAcked()
		client.write("x\r\n")
		client.expectRST()
	}, stats.ProxyHeaderInvalid},
	{"too long", func(client *peer) {
		client.write(binaryHeader(0x21, 0x11, maxHeaderBytes, hexTCP4)[:headerV2])
		client.expectRST()
	}, stats.ProxyHeaderInvalid},
	{"FIN without a byte", func(client *peer) {
		client.fin()
		client.expectAbort()
	}, stats.ProxyHeaderInvalid},
	{"FIN within the header", func(client *peer) {
		client.write(wholeHeaders["v2 TCP4"].text[:20])
		client.fin()
		client.expectAbort()
	}, stats.ProxyHeaderInvalid},
	{"RST without a byte", func(client *peer) { client.rst() }, stats.ClientReset},
	{"RST within the header", func(client *peer) {
		client.write("PROXY ")
		client.awaitAcked()
		client.rst()
	}, stats.ClientReset},
	{"silence", func(client *peer) { client.expectRST() }, stats.ProxyHeaderTimeout},
	{"silence within the header", func(client *peer) {
		client.write(wholeHeaders["v2 TCP4"].text[:27])
		client.expectRST()
	}, stats.ProxyHeaderTimeout},
}

func TestHeaderCloses(t *testing.T) {
	for _, f := range []family{v4, v6} {
		t.Run(f.name, func(t *testing.T) {
			need(t, f)
			for _, c := range headerEndings {
				t.Run(c.name, func(t *testing.T) {
					limit := time.Minute
					if c.reason == stats.ProxyHeaderTimeout {
						limit = 100 * time.Millisecond
					}
					testHeaderClose(t, f, limit, c.script, c.reason)
				})
			}
		})
	}
}

func testHeaderClose(t *testing.T, f family, limit time.Duration, script func(*peer), why stats.Reason) {
	up := newServer(t, f.upstream)
	r := newRig(t, f, setup{route: route.Route{HeaderSenders: everybody, HeaderTimeout: limit}, upstreams: addrs(up)})
	client := r.dial()
	sender := client.LocalAddr().String()
	script(client)
	r.awaitEnded(why, 1)
	rec := r.records()[0]
	if rec.Reason != why.String() || rec.Client.String() != sender || rec.Upstream != nil || rec.BytesIn != 0 || rec.Error != "" {
		t.Errorf("record: %+v", rec)
	}
}

// Data and FIN, or RST, that came with a header are passed on once an upstream has answered.
func TestHeaderThenEnd(t *testing.T) {
	for name, end := range map[string]func(client, upstream *peer){
		"FIN": func(client, upstream *peer) {
			upstream.expect(some)
			upstream.expectFIN()
			upstream.send(lots)
			upstream.fin()
			client.expect(lots)
			client.expectFIN()
		},
		"RST": func(_, upstream *peer) {
			upstream.expect(some)
			upstream.expectRST()
		},
	} {
		t.Run(name, func(t *testing.T) {
			up := newFull(t, v4.upstream)
			r := newRig(t, v4, setup{route: route.Route{HeaderSenders: everybody}, upstreams: []netip.AddrPort{up.addr}})
			client := r.dial()
			client.introduce()
			client.send(some)
			why := stats.Done
			if name == "RST" {
				why = stats.ClientReset
				client.awaitAcked()
				client.rst()
			} else {
				client.fin()
			}
			netlab.Eventually(t, "the upstream is dialled", func() bool { return sockets(t, synSent) == 1 })
			sock.Close(up.take(t)) // what had filled the queue
			end(client, up.peer(t))
			r.awaitEnded(why, 1)
		})
	}
}

// A connection that waits for its header is drained and closed like any other.
func TestHeaderDrained(t *testing.T) {
	r := newRig(t, v4, setup{route: route.Route{HeaderSenders: everybody}})
	client := r.dial()
	client.write("PROXY ")
	netlab.Eventually(t, "it is there", func() bool { return r.engine.Active() == 1 })
	r.end()
	client.expectRST()
	r.awaitEnded(stats.Drained, 1)
}
