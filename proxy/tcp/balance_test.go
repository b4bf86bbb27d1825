package tcp

import "testing"

// Connections that stay are spread evenly, although the kernel wakes the same worker for each.
func TestWorkersShareConnections(t *testing.T) {
	for _, workers := range []int{1, 2, 5} {
		up := newServer(t, v4.upstream)
		r := newRig(t, v4, setup{upstreams: addrs(up), workers: workers})
		const each = 16
		for range workers * each {
			client := r.dial()
			client.send(some)
			up.accept().expect(some)
		}
		for _, w := range r.engine.workers {
			if n := w.load.Load(); n < each/2 || n > each*2 {
				t.Errorf("worker %d of %d has %d of %d connections", w.id, workers, n, workers*each)
			}
		}
		if n := r.engine.Active(); n != workers*each {
			t.Errorf("%d connections are active, want %d", n, workers*each)
		}
	}
}

func TestInbox(t *testing.T) {
	b := newInbox()
	for i := range inboxSize {
		if taken, first := b.put(handover{fd: int32(i)}); !taken || first != (i == 0) {
			t.Fatalf("full after %d", i)
		}
	}
	if taken, _ := b.put(handover{}); taken {
		t.Error("a full inbox takes more")
	}
	for i, h := range b.take() {
		if h.fd != int32(i) {
			t.Fatalf("connection %d came out as number %d", h.fd, i)
		}
	}
	b.put(handover{fd: 7})
	b.close()
	if taken, _ := b.put(handover{}); taken {
		t.Error("a closed inbox takes more")
	}
	if got := b.take(); len(got) != 1 || got[0].fd != 7 {
		t.Errorf("closing lost what was inside: %v", got)
	}
}
