package tcp

import (
	"testing"

	"golang.org/x/sys/unix"

	"anyport/proxy/stats"
)

// A read stops in front of urgent data, which must neither stall the stream nor be lost from it.
func TestUrgentData(t *testing.T) {
	for _, path := range paths {
		t.Run(path.name, func(t *testing.T) {
			need(t, path.client, path.upstream)
			up := newServer(t, path.upstream.upstream)
			r := newRig(t, path.client, setup{upstreams: addrs(up)})
			client := r.dial()
			upstream := up.accept()
			for range 20 {
				client.send(some)
				client.sendUrgent()
				client.send(some)
				upstream.sendUrgent()
				upstream.send(some)
			}
			client.sendUrgent()
			client.fin()
			upstream.send(lots)
			upstream.fin()
			upstream.expect(client.sent)
			upstream.expectFIN()
			client.expect(upstream.sent)
			client.expectFIN()
			r.awaitEnded(stats.Done, 1)
		})
	}
}

// sendUrgent sends the next byte of noise as urgent data (RFC 6093).
func (p *peer) sendUrgent() {
	p.t.Helper()
	p.fd(func(fd int) {
		if err := unix.Sendto(fd, noise[p.sent:p.sent+1], unix.MSG_OOB, nil); err != nil {
			p.t.Fatalf("%s sends urgent data: %v", p.name, err)
		}
	})
	p.sent++
}
