package offload

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"anyport/bench/netlab"
	"anyport/proxy/sock"
)

// bed is a Trio whose proxy forwards what a test puts into its table; no proxy runs there.
type bed struct {
	*netlab.Trio
	*Forwarder
}

func newBed(t testing.TB, flows int) *bed {
	t.Helper()
	b := &bed{Trio: netlab.NewTrio(t)}
	dir := filepath.Join(mountBpffs(t), "offload")
	must(t, b.Proxy.Do(func() (err error) {
		b.Forwarder, err = Open(Options{Dir: dir, MaxFlows: flows, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
		return err
	}))
	t.Cleanup(func() { must(t, b.Proxy.Do(b.Unload)) })
	if s := b.Status(); !s.On {
		t.Fatalf("forwarding is off: %s", s.Why)
	}
	return b
}

// forget waits until the program asks for every path again, which is its way of following changes that nobody tells it.
func (b *bed) forget() { time.Sleep(2 * unit) }

func addr(s string) sock.Addr { return sock.AddrFrom(netip.MustParseAddrPort(s)) }

// family is the addresses of one IP version.
type family struct {
	name, network                   string
	client, original, nat, upstream string
}

var families = []family{
	{"v4", "udp4", "10.1.0.2:5001", "198.18.0.1:53", "10.2.0.1:20000", "10.2.0.2:7777"},
	{"v6", "udp6", "[fd00:1::2]:5001", "[2001:db8::1]:53", "[fd00:2::1]:20000", "[fd00:2::2]:7777"},
}

func (f *family) flow() *Flow {
	return &Flow{Client: addr(f.client), Original: addr(f.original), NAT: addr(f.nat), Upstream: addr(f.upstream),
		Route: "games", Idle: time.Hour}
}

// dial opens the client's socket, and listen the upstream's.
func (f *family) dial(t testing.TB, b *bed) *net.UDPConn {
	t.Helper()
	return open(t, b.Client, func() (*net.UDPConn, error) {
		return net.DialUDP(f.network, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(f.client)),
			net.UDPAddrFromAddrPort(netip.MustParseAddrPort(f.original)))
	})
}

func (f *family) listen(t testing.TB, b *bed) *net.UDPConn {
	t.Helper()
	return open(t, b.Upstream, func() (*net.UDPConn, error) {
		return net.ListenUDP(f.network, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(f.upstream)))
	})
}

func open(t testing.TB, ns *netlab.Namespace, make func() (*net.UDPConn, error)) *net.UDPConn {
	t.Helper()
	var c *net.UDPConn
	must(t, ns.Do(func() (err error) { c, err = make(); return err }))
	t.Cleanup(func() { c.Close() })
	must(t, c.SetReadBuffer(4<<20))
	return c
}

func send(t testing.TB, c *net.UDPConn, payload []byte) {
	t.Helper()
	_, err := c.Write(payload)
	must(t, err)
}

func expect(t testing.TB, c *net.UDPConn, want []byte) netip.AddrPort {
	t.Helper()
	buf := make([]byte, 1<<16)
	must(t, c.SetReadDeadline(time.Now().Add(netlab.Patience)))
	n, from, err := c.ReadFromUDPAddrPort(buf)
	must(t, err)
	if string(buf[:n]) != string(want) {
		t.Fatalf("%d bytes, want %d: %.20q, want %.20q", n, len(want), buf[:n], want)
	}
	return netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
}

func (b *bed) outcome(t testing.TB, name string) uint64 {
	t.Helper()
	all, err := b.table.Outcomes()
	must(t, err)
	return all[name]
}

// TestForward sends datagrams of a flow both ways, and looks at their addresses, at their content and at what was counted.
func TestForward(t *testing.T) {
	b := newBed(t, 10)
	for i, f := range families {
		t.Run(f.name, func(t *testing.T) {
			slot, ok := b.table.Offer(f.flow())
			if !ok {
				t.Fatal("the flow was not taken")
			}
			client, upstream := f.dial(t, b), f.listen(t, b)
			var want Usage
			for i := range 100 {
				question := fmt.Appendf(nil, "%0*d", 1+10*i, i)
				send(t, client, question)
				if from := expect(t, upstream, question); from.String() != f.nat {
					t.Fatalf("the upstream sees %s, want %s", from, f.nat)
				}
				answer := question[i:]
				_, err := upstream.WriteToUDPAddrPort(answer, netip.MustParseAddrPort(f.nat))
				must(t, err)
				expect(t, client, answer)
				want.PacketsIn++
				want.PacketsOut++
				want.BytesIn += uint64(len(question))
				want.BytesOut += uint64(len(answer))
			}
			got := b.table.Withdraw(slot)
			got.Silent = 0
			if got != want {
				t.Errorf("usage is %+v, want %+v", got, want)
			}
			send(t, client, []byte("?"))
			if n := b.outcome(t, "in"); n != uint64(100+100*i) {
				t.Errorf("%d packets forwarded, so one of a flow that was withdrawn", n)
			}
		})
	}
	in, out := b.outcome(t, "in"), b.outcome(t, "out")
	if in != 200 || out != 200 {
		t.Errorf("%d packets in and %d out, want 200 each", in, out)
	}
}

func mountBpffs(t testing.TB) string {
	t.Helper()
	return pinDir(t, TCX)
}
