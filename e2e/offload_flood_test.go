package e2e

import (
	"errors"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestOffloadFloodAndKill kills the daemon and starts it again, three times, while clients flood it with new flows at the
// limit of flows. Flows that were there before go on all the time, through the kernel, and get their own answers only.
func TestOffloadFloodAndKill(t *testing.T) {
	w := offloadWorld(t)
	config := "max_flows = 500\n" + offloadConfig(w, "")
	d := w.run(config)
	var flows []*offloaded
	for _, f := range families {
		for range 10 {
			flows = append(flows, newOffloaded(t, w, f))
		}
	}
	exchangeAll := func(rounds int) {
		t.Helper()
		for range rounds {
			for _, o := range flows {
				o.exchange(1 + w.rng.IntN(1400))
			}
		}
	}
	w.flood(t)
	for range 3 {
		exchangeAll(20)
		w.must(d.Signal(syscall.SIGKILL))
		<-d.Done()
		exchangeAll(20)
		d = w.run(config)
	}
	exchangeAll(20)
	for _, o := range flows {
		o.exchange(3000) // fragments go through the sockets
	}
	waitFor(t, "the flood to have reached the limit", func() bool {
		r := w.status().Daemon.Routes
		return r[0].UDP.Active+r[1].UDP.Active == 500
	})
	if s := w.offloadStatus(); !s.On || s.Flows < len(flows) {
		t.Errorf("offload is %+v", s)
	}
}

// flood sends datagrams of new flows until the test ends, some ten thousand a second, without looking at answers.
func (w *world) flood(t *testing.T) {
	t.Helper()
	stop := make(chan struct{})
	var running sync.WaitGroup
	for _, f := range families {
		c, err := packetConn(w.Client)
		w.must(err)
		rng := newRand(t)
		running.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(time.Millisecond):
				}
				for range 5 {
					_, err := c.WriteTo([]byte("flood"), net.UDPAddrFromAddrPort(f.destination(rng)))
					if err != nil && !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, syscall.ENOBUFS) {
						t.Error(err)
					}
				}
			}
		})
		t.Cleanup(func() { c.Close() })
	}
	t.Cleanup(func() { close(stop); running.Wait() })
}
