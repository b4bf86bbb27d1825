package udp

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"anyport/bench/netlab"
	"anyport/conf"
	"anyport/conf/rule"
	"anyport/proxy/stats"
)

// TestNoReplyToWrongClient has 300 clients share 100 flows and 300 NAT ports, and an upstream that answers each
// datagram up to three seconds later, when its flow may have been evicted. A client must never get an answer that is
// not its own.
func TestNoReplyToWrongClient(t *testing.T) {
	t.Parallel()
	const (
		clients  = 300
		rounds   = 2
		interval = 14 * time.Millisecond // 70 new flows a second: 300 ports are enough for their quarantines
	)
	r := newRig(t, 100, echoUpstream)
	must(t, r.Proxy.Do(func() error {
		_, err := r.engine.AddSource(conf.UDPSource{Addr: netlab.ProxyUpstream4,
			Ports: rule.PortRange{First: natPorts.First, Last: natPorts.First + 299}})
		return err
	}))
	r.start(t)
	lateEcho(t, listen(t, r.Upstream, "[::]:7777"))
	var own, wrong atomic.Int64
	var readers sync.WaitGroup
	conns := make([]*net.UDPConn, clients)
	for i := range conns {
		conns[i] = dial(t, r.Client, []string{"198.18.0.1:9", "[2001:db8::1]:9"}[i%2])
		readers.Add(1)
		go countAnswers(conns[i], uint32(i), &readers, &own, &wrong)
	}
	pace := time.NewTicker(interval)
	defer pace.Stop()
	for n := range clients * rounds {
		<-pace.C
		_, err := conns[n%clients].Write(binary.BigEndian.AppendUint32(nil, uint32(n%clients)))
		must(t, err)
	}
	for _, c := range conns {
		c.Close()
	}
	readers.Wait()
	evicted, late := r.ended("0", stats.Evicted), r.dropped(stats.DropStray)
	t.Logf("%d answers, %d flows evicted, %d late answers dropped", own.Load(), evicted, late)
	if wrong.Load() > 0 {
		t.Errorf("%d answers went to the wrong client", wrong.Load())
	}
	if own.Load() == 0 || evicted == 0 || late == 0 {
		t.Error("the test did not get to the point")
	}
}

func countAnswers(c *net.UDPConn, number uint32, done *sync.WaitGroup, own, wrong *atomic.Int64) {
	defer done.Done()
	buf := make([]byte, 16)
	for {
		n, err := c.Read(buf)
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err == nil && n == 4 && binary.BigEndian.Uint32(buf) == number:
			own.Add(1)
		default:
			wrong.Add(1)
		}
	}
}

// lateEcho answers each datagram after a random time.
func lateEcho(t *testing.T, c *net.UDPConn) {
	t.Helper()
	done := make(chan struct{})
	go lateEchoLoop(c, done)
	t.Cleanup(func() { c.Close(); <-done })
}

func lateEchoLoop(c *net.UDPConn, done chan<- struct{}) {
	defer close(done)
	var pending sync.WaitGroup
	defer pending.Wait()
	buf := make([]byte, 16)
	for {
		n, from, err := c.ReadFromUDPAddrPort(buf)
		if err != nil {
			return // closed
		}
		answer := append([]byte(nil), buf[:n]...)
		pending.Add(1)
		time.AfterFunc(rand.N(3*time.Second), func() {
			defer pending.Done()
			_, _ = c.WriteToUDPAddrPort(answer, from)
		})
	}
}
