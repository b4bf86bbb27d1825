package proxy

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"anyport/bench/netlab"
	"anyport/conf"
	"anyport/conf/rule"
	"anyport/proxy/sock"
	"anyport/proxy/stats"
	"anyport/proxy/udp"
)

// mirror is a UDP upstream that answers with the content, and remembers whom it has heard.
type mirror struct {
	socket  *net.UDPConn
	running sync.WaitGroup
	mute    atomic.Bool // it does not answer

	mu    sync.Mutex // guards the field below
	heard map[netip.AddrPort]int
}

func newMirror(t *testing.T, address string) *mirror {
	t.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(address)))
	must(t, err)
	m := &mirror{socket: c, heard: make(map[netip.AddrPort]int)}
	m.running.Go(m.loop)
	t.Cleanup(func() { c.Close(); m.running.Wait() })
	return m
}

func (m *mirror) loop() {
	buf := make([]byte, 1<<16)
	for {
		n, from, err := m.socket.ReadFromUDPAddrPort(buf)
		if err != nil {
			return // closed
		}
		m.mu.Lock()
		m.heard[from]++
		m.mu.Unlock()
		if !m.mute.Load() {
			_, _ = m.socket.WriteToUDPAddrPort(buf[:n], from)
		}
	}
}

// TestUDPWorkers opens flows through several workers: each stays with one of them, each of them has some, every answer is
// the client's own, and no two flows share a NAT port.
func TestUDPWorkers(t *testing.T) {
	for _, n := range []int{1, 2, 5} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			r := steeredWorkers(t, n)
			m := newMirror(t, "127.0.0.2:7001")
			must(t, r.put(workers(n)+home+routeOf("all", "127.0.0.2:7001")))
			r.run(t.Context())
			const flows, datagrams = 400, 3
			for i := range flows {
				dst := fmt.Sprintf("198.18.%d.%d:%d", i%16, i%256, i+1)
				if i%2 == 1 {
					dst = fmt.Sprintf("[2001:db8::%x]:%d", i, i+1)
				}
				c := open(t, "udp", dst)
				for j := range datagrams {
					wantSame(t, c, fmt.Sprint(dst, j))
				}
			}
			busy := 0
			for _, e := range r.udp.engines {
				if e.Active() > 0 {
					busy++
				}
			}
			totals := stats.Sum(r.Stats().Route("all").UDP)
			if busy != n || totals.Opened != flows || totals.PacketsIn != flows*datagrams || totals.PacketsOut != flows*datagrams {
				t.Errorf("%d workers have flows; counted %+v", busy, totals)
			}
			m.checkHeard(t, flows, datagrams)
			must(t, r.Stop())
			r.wantReturned()
			if totals := stats.Sum(r.Stats().Route("all").UDP); totals.Active != 0 {
				t.Errorf("%d flows are open after Stop", totals.Active)
			}
		})
	}
}

func wantSame(t *testing.T, c net.Conn, text string) {
	t.Helper()
	_, err := io.WriteString(c, text)
	must(t, err)
	wantGreeting(t, c, text)
}

func (m *mirror) checkHeard(t *testing.T, flows, datagrams int) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.heard) != flows {
		t.Errorf("the upstream heard %d addresses and ports, want %d", len(m.heard), flows)
	}
	for from, n := range m.heard {
		if n != datagrams {
			t.Errorf("the upstream heard %d datagrams from %s, want %d", n, from, datagrams)
		}
	}
}

// TestUDPWorkersDrain lets open flows of all workers go on until they are idle, and refuses others.
func TestUDPWorkersDrain(t *testing.T) {
	const n = 3
	r := steeredWorkers(t, n)
	newMirror(t, "127.0.0.2:7001")
	must(t, r.put(workers(n)+home+routeOf("all", "127.0.0.2:7001")+"idle_timeout = \"1s\"\n"))
	r.run(t.Context())
	var old []net.Conn
	for i := range 30 {
		old = append(old, open(t, "udp", fmt.Sprintf("198.18.0.1:%d", i+1)))
		wantSame(t, old[i], "before")
	}
	drained := make(chan error, 1)
	go drain(r, t, drained)
	refused := func() uint64 { return stats.Sum(r.Stats().Route("all").UDP).Ended[stats.Drained.String()] }
	netlab.Eventually(t, "every worker to refuse", func() bool {
		for i := range 10 {
			_, err := io.WriteString(open(t, "udp", fmt.Sprintf("[2001:db8::1]:%d", i+1)), "?")
			must(t, err)
		}
		return refused() > 30
	})
	must(t, <-drained)
	r.wantReturned()
	if idle := stats.Sum(r.Stats().Route("all").UDP).Ended[stats.IdleTimeout.String()]; idle < uint64(len(old)) {
		t.Errorf("%d flows ended as idle, want %d", idle, len(old))
	}
}

func drain(r *rig, t *testing.T, done chan<- error) { done <- r.Drain(t.Context()) }

// TestUDPWorkersForgedClient forges datagrams from addresses that are served: whichever worker gets the answer must not
// take it for a client's datagram.
func TestUDPWorkersForgedClient(t *testing.T) {
	const n = 4
	r := steeredWorkers(t, n)
	newMirror(t, "127.0.0.2:7001")
	must(t, r.put(workers(n)+home+routeOf("all", "127.0.0.2:7001")))
	r.run(t.Context())
	raw, err := sock.OpenRawUDP(1, func(err error) { t.Error(err) })
	must(t, err)
	defer raw.Close()
	const forged = 50
	for i := range forged {
		src := sock.AddrFrom(netip.MustParseAddrPort(fmt.Sprintf("198.18.0.2:%d", i+1)))
		dst := sock.AddrFrom(netip.MustParseAddrPort("198.18.0.1:9"))
		raw.Queue(&src, &dst, nil, []byte("?"))
		raw.Flush()
	}
	route := r.Stats().Route("all")
	netlab.Eventually(t, "every answer to be refused", func() bool {
		return stats.Sum(route.UDP).Ended[stats.Loop.String()] == forged
	})
	time.Sleep(100 * time.Millisecond) // a loop would go on
	if in := stats.Sum(route.UDP).PacketsIn; in != forged {
		t.Errorf("%d datagrams were forwarded, want the %d forged ones", in, forged)
	}
	must(t, r.Stop())
	r.wantReturned()
}

// TestShares checks that the workers' parts of a source are equal, disjoint and the whole.
func TestShares(t *testing.T) {
	for _, workers := range []int{1, 2, 3, 64} {
		p := udpPlane{engines: make([]*udp.Engine, workers)}
		for _, ports := range []rule.PortRange{{First: 1, Last: 65535}, {First: 10000, Last: 10063}, {First: 65400, Last: 65535}} {
			next := int(ports.First)
			for i := range workers {
				share := p.share(conf.UDPSource{Ports: ports}, i).Ports
				size := int(share.Last) - int(share.First) + 1
				least := (int(ports.Last) - int(ports.First) + 1) / workers
				if int(share.First) != next || size < least || size > least+1 {
					t.Errorf("worker %d of %d has %s of %s", i, workers, share, ports)
				}
				next = int(share.Last) + 1
			}
			if next != int(ports.Last)+1 {
				t.Errorf("%d workers do not share all of %s", workers, ports)
			}
		}
	}
}
