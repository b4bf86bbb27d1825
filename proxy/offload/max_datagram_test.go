package offload

import (
	"net/netip"
	"testing"
	"time"
)

// TestMaxDatagram forwards answers up to a flow's longest, alone and in trains, and leaves longer ones to the sockets. What
// the client sends may have any length.
func TestMaxDatagram(t *testing.T) {
	const longest = 1232
	b := newBed(t, 10)
	forFamilies(t, func(t *testing.T, f family) {
		flow := f.flow()
		flow.MaxDatagram = longest
		slot, ok := b.table.Offer(flow)
		if !ok {
			t.Fatal("the flow was not taken")
		}
		c := &crossing{b, f, slot, f.dial(t, b), f.listen(t, b)}
		c.works(t)
		answer := func(n int) {
			_, err := c.upstream.WriteToUDPAddrPort(make([]byte, n), netip.MustParseAddrPort(c.nat))
			must(t, err)
		}
		train := func(n, size int) {
			_, _, err := c.upstream.WriteMsgUDPAddrPort(make([]byte, n), trainMessage(size), netip.MustParseAddrPort(c.nat))
			must(t, err)
		}
		answer(longest)
		expect(t, c.client, make([]byte, longest))
		train(3*longest, longest)
		for range 3 {
			expect(t, c.client, make([]byte, longest))
		}
		c.isLeft(t, "too_big", func() { answer(longest + 1) })
		c.isLeft(t, "too_big", func() { train(3*longest, longest+1) })
		send(t, c.client, make([]byte, 1400))
		expect(t, c.upstream, make([]byte, 1400))
	})
}

// TestAdoptedMaxDatagram has the next process find flows whose route has another limit by now.
func TestAdoptedMaxDatagram(t *testing.T) {
	b := newBed(t, 10)
	for i, f := range families {
		flow := f.flow()
		flow.MaxDatagram, flow.Idle = 1400, time.Hour
		slot, ok := b.table.Offer(flow)
		if !ok {
			t.Fatal("the flow was not taken")
		}
		for _, limit := range []int{1300, 0} {
			b.table.Adopt(func(_ uint32, f *Flow) bool { f.MaxDatagram = limit; return true })
			want := uint32(anyLength)
			if limit > 0 {
				want = uint32(limit + 28 + 20*i)
			}
			if got := b.table.maps.flows[slot].Out.Longest; got != want {
				t.Errorf("%s: packets of %d bytes may leave, want %d", f.name, got, want)
			}
		}
	}
}
