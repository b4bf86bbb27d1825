package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/pires/go-proxyproto"

	"anyport/bench/netlab"
)

// crossed is every way from a client's family to nginx, in a version of the PROXY protocol.
func crossed(version string) string {
	config := prefixes
	for _, r := range []struct{ prefix, upstream string }{
		{"198.18.0.0/24", "10.2.0.2:8080"}, {"198.18.1.0/24", "[fd00:2::2]:8080"},
		{"2001:db8:0:0::/64", "[fd00:2::2]:8080"}, {"2001:db8:0:1::/64", "10.2.0.2:8080"},
	} {
		config += fmt.Sprintf("[[route]]\nprotocol = \"tcp\"\nprefix = [%q]\nupstream = [%q]\nproxy_protocol = %q\n"+
			"accept_proxy_from = [\"10.1.0.2/32\", \"fd00:1::2/128\"]\n", r.prefix, r.upstream, version)
	}
	return config
}

// TestProxyProtocolThroughToNginx sends headers made by one implementation through anyport to another one's parser:
// nginx sees the client that the sender names, and the destination that it dialled.
func TestProxyProtocolThroughToNginx(t *testing.T) {
	netlab.RequireRoot(t)
	netlab.RequireProgram(t, "nginx")
	w := newWorld(t)
	w.startNginx()
	for _, version := range []string{"v1", "v2"} {
		d := w.run(crossed(version))
		for _, to := range []string{"198.18.0.7:4242", "198.18.1.7:1", "[2001:db8::7]:65535", "[2001:db8:0:1::7]:25"} {
			for _, client := range []string{"192.0.2.1:56324", "[2001:db8:ff::1]:56324"} {
				for _, sent := range []byte{1, 2} {
					dst := netip.MustParseAddrPort(to)
					got := w.fetchAs(dst, client, sent)
					want := seen(dst, netip.MustParseAddrPort(client).Addr())
					if got != want {
						t.Errorf("%s: v%d header of %s to %s: nginx says %q, want %q", version, sent, client, to, got, want)
					}
				}
			}
		}
		d.stop()
	}
}

// seen is what nginx says of a header: IPv4 addresses are mapped in one that also has an IPv6 address.
func seen(dst netip.AddrPort, client netip.Addr) string {
	at := dst.Addr()
	if at.Is4() != client.Is4() {
		at, client = netip.AddrFrom16(at.As16()), netip.AddrFrom16(client.As16())
	}
	return fmt.Sprintln(at, dst.Port(), client)
}

// fetchAs sends a PROXY header and a request, in one segment, and returns the body of the answer.
func (w *world) fetchAs(to netip.AddrPort, client string, version byte) string {
	w.t.Helper()
	src := net.TCPAddrFromAddrPort(netip.MustParseAddrPort(client))
	dst := &net.TCPAddr{IP: net.IPv4(203, 0, 113, 9), Port: 999}
	if src.IP.To4() == nil {
		dst.IP = net.ParseIP("2001:db8:ee::9")
	}
	header, err := proxyproto.HeaderProxyFromAddrs(version, src, dst).Format()
	w.must(err)
	c, err := dial(w.Client, to)
	w.must(err)
	defer c.Close()
	_, err = io.WriteString(c, string(header)+"GET / HTTP/1.0\r\n\r\n")
	w.must(err)
	answer, err := io.ReadAll(c)
	w.must(err)
	_, body, _ := strings.Cut(string(answer), "\r\n\r\n")
	return body
}

// TestProxyProtocolRefused sends something else than a header from a listed sender: a RST, and the log says why.
func TestProxyProtocolRefused(t *testing.T) {
	netlab.RequireRoot(t)
	w := newWorld(t)
	w.upstreams(8080, echo)
	log := w.dir + "/access.json"
	d := w.run(fmt.Sprintf("access_log = %q\n", log) + strings.ReplaceAll(crossed("v2"), "accept_proxy_from",
		"proxy_header_timeout = \"200ms\"\naccept_proxy_from"))
	for _, f := range families {
		to := netip.AddrPortFrom(f.prefix.Addr().Next(), 4242)
		for _, text := range []string{"GET / HTTP/1.0\r\n\r\n", ""} {
			c, err := dial(w.Client, to)
			w.must(err)
			_, err = io.WriteString(c, text)
			w.must(err)
			if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("%q to %s: %v, want a RST", text, to, err)
			}
			c.Close()
		}
	}
	d.stop()
	lines, err := os.ReadFile(log)
	w.must(err)
	for _, reason := range []string{"proxy_header_invalid", "proxy_header_timeout"} {
		if n := strings.Count(string(lines), `"reason":"`+reason+`"`); n != len(families) {
			t.Errorf("%d lines of the log have reason %s, want %d", n, reason, len(families))
		}
	}
}
