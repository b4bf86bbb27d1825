package tcp

import (
	"errors"
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"anyport/proxy/stats"
)

// A reader that does not read stops its sender, and costs no more than socket buffers and a pipe.
func TestSlowReader(t *testing.T) {
	for _, path := range paths {
		t.Run(path.name+"/client", func(t *testing.T) {
			testSlowReader(t, path.client, path.upstream, func(c, u *peer) (reader, writer *peer) { return c, u })
		})
		t.Run(path.name+"/upstream", func(t *testing.T) {
			testSlowReader(t, path.client, path.upstream, func(c, u *peer) (reader, writer *peer) { return u, c })
		})
	}
}

func testSlowReader(t *testing.T, from, to family, roles func(c, u *peer) (reader, writer *peer)) {
	need(t, from, to)
	up := newServer(t, to.upstream)
	r := newRig(t, from, setup{upstreams: addrs(up), workers: 1})
	client := r.dial()
	upstream := up.accept()
	reader, writer := roles(client, upstream)
	before := heap()
	total := writer.sendUntilStuck()
	if limit := kernelBuffers(t); total > limit {
		t.Errorf("the sender got rid of %d bytes, the buffers on the way have %d", total, limit)
	}
	if grown := heap() - before; grown > 1<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
	writer.fin()
	reader.expectPattern(total)
	reader.expectFIN()
	reader.fin()
	r.awaitEnded(stats.Done, 1)
	r.end()
	if w := r.engine.workers[0]; len(w.pipes.slots) > 2 {
		t.Errorf("one connection has used %d pipes at once", len(w.pipes.slots))
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// sendUntilStuck sends chunks of noise until nothing moves for a while, and returns how much has gone.
func (p *peer) sendUntilStuck() (total int) {
	p.t.Helper()
	defer p.SetDeadline(time.Now().Add(patience))
	for {
		p.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		at := total % pattern
		n, err := p.Write(noise[at:min(at+1<<20, pattern)])
		total += n
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded) && n == 0:
			return total
		case err != nil && !errors.Is(err, os.ErrDeadlineExceeded):
			p.t.Fatalf("%s: after %d bytes: %v", p.name, total, err)
		case total > 1<<30:
			p.t.Fatalf("%s: nothing holds it back", p.name)
		}
	}
}

// pattern is the length of the noise that sendUntilStuck repeats.
const pattern = 8 << 20

func (p *peer) expectPattern(total int) {
	p.t.Helper()
	for total > 0 {
		n := min(total, pattern)
		p.received = 0
		p.expect(n)
		total -= n
	}
}

// kernelBuffers returns what the four sockets of a proxied connection and a pipe can hold at most, with room for the
// kernel's rounding.
func kernelBuffers(t *testing.T) int {
	t.Helper()
	read, write := tcpMemory(t, "tcp_rmem"), tcpMemory(t, "tcp_wmem")
	return 2*(read+write) + 2<<20
}

// No pipe is left, so data is peeked at: many readers that do not read hold none of it up for the others.
func TestSlowReadersBeyondThePipes(t *testing.T) {
	const readers, pipes = 12, 3
	up := newServer(t, v4.upstream)
	few := func(e *Engine) { e.workers[0].pipes.most = pipes }
	r := newRig(t, v4, setup{upstreams: addrs(up), workers: 1, engine: few})
	if err := unix.SetsockoptInt(r.listener.FD(), unix.SOL_SOCKET, unix.SO_SNDBUF, 64<<10); err != nil {
		t.Fatal(err)
	}
	var clients, upstreams []*peer
	var sent []int
	for range readers {
		client := r.dial()
		upstream := up.accept()
		upstream.SetWriteBuffer(64 << 10)
		client.SetReadBuffer(64 << 10)
		sent = append(sent, upstream.sendUntilStuck())
		clients, upstreams = append(clients, client), append(upstreams, upstream)
	}
	free, freeUpstream := r.dial(), up.accept()
	free.send(some)
	freeUpstream.expect(some)
	freeUpstream.send(some)
	free.expect(some)
	for i, client := range clients {
		upstreams[i].fin()
		client.expectPattern(sent[i])
		client.expectFIN()
		client.fin()
	}
	r.awaitEnded(stats.Done, readers)
	r.end()
	if n := len(r.engine.workers[0].pipes.slots); n > pipes {
		t.Errorf("%d pipes were open at once", n)
	}
}

// A peer that resets while the other side does not read is passed on after a while, with the data undelivered.
func TestResetBehindASlowReader(t *testing.T) {
	for _, path := range paths {
		t.Run(path.name, func(t *testing.T) {
			need(t, path.client, path.upstream)
			up := newServer(t, path.upstream.upstream)
			r := newRig(t, path.client, setup{upstreams: addrs(up)})
			client := r.dial()
			upstream := up.accept()
			upstream.sendUntilStuck()
			upstream.rst()
			r.awaitEnded(stats.UpstreamReset, 1)
			client.expectAbort()
		})
	}
}

// The data for a reader that goes away is thrown away, and what held it is given back.
func TestSlowReaderResets(t *testing.T) {
	for _, path := range paths {
		t.Run(path.name, func(t *testing.T) {
			need(t, path.client, path.upstream)
			up := newServer(t, path.upstream.upstream)
			r := newRig(t, path.client, setup{upstreams: addrs(up)})
			client := r.dial()
			upstream := up.accept()
			upstream.sendUntilStuck()
			client.rst()
			r.awaitEnded(stats.ClientReset, 1)
			upstream.expectRST()
		})
	}
}
