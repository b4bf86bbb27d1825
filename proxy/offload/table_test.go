package offload

import (
	"encoding/binary"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"anyport/bench/netlab"
	"anyport/bpf"
	"anyport/proxy/sock"
)

// TestTableMemory holds README to its word.
func TestTableMemory(t *testing.T) {
	netlab.RequireRoot(t)
	const flows = 100_000
	table, err := OpenTable(filepath.Join(mountBpffs(t), "offload"), flows)
	must(t, err)
	defer table.Close()
	var sum uint64
	for name, m := range table.maps.byName {
		info, err := m.Info()
		must(t, err)
		bytes, ok := info.Memlock()
		if !ok {
			t.Fatalf("the kernel does not tell what map %s takes", name)
		}
		t.Logf("%s: %d bytes", name, bytes)
		if name == bpf.OffloadMapFlows || name == bpf.OffloadMapBuckets {
			sum += bytes
		}
	}
	if sum > 35_000_000 {
		t.Errorf("the maps of %d flows take %d bytes", flows, sum)
	}
}

// TestTableIsFull fills a table, and finds room again once a slot has rested.
func TestTableIsFull(t *testing.T) {
	netlab.RequireRoot(t)
	table, err := OpenTable(filepath.Join(mountBpffs(t), "offload"), 2)
	must(t, err)
	defer table.Close()
	at := func(port uint16) *Flow {
		f := families[0].flow()
		f.Client.Port, f.NAT.Port = port, port
		return f
	}
	if _, ok := table.Offer(at(1)); ok {
		t.Error("a table takes a flow before it is told to")
	}
	table.Accept(true)
	first, ok := table.Offer(at(1))
	same := at(2)
	same.Client.Port = 1
	if _, again := table.Offer(same); !ok || again || table.Len() != 1 {
		t.Errorf("two flows of one client to one destination: %d", table.Len())
	}
	netlab.Eventually(t, "the other slot to have rested", func() bool { return table.slots.rested(table.clock.now()) })
	same.Client.Port, same.NAT.Port = 2, 1
	if _, again := table.Offer(same); again || table.Len() != 1 {
		t.Errorf("two flows of one NAT port: %d", table.Len())
	}
	netlab.Eventually(t, "the other slot to have rested", func() bool {
		_, ok := table.Offer(at(2))
		return ok
	})
	if _, ok := table.Offer(at(3)); ok || table.Len() != 2 {
		t.Errorf("two slots hold %d flows", table.Len())
	}
	for half := 2 * first; half < 2*first+2; half++ {
		if bucket, place := table.maps.index.locate(half); !slices.Contains(bucket.Place[:], place) {
			t.Errorf("nothing leads to half %d any more", half)
		}
	}
	table.Withdraw(first)
	netlab.Eventually(t, "a slot to have rested", func() bool {
		_, ok := table.Offer(at(3))
		return ok
	})
	mixed := at(4)
	mixed.Upstream = addr("[fd00:2::2]:7777")
	if mixed.canForward() {
		t.Error("the kernel is to make IPv6 of IPv4")
	}
}

// TestLeftBehind opens a table again, as the next process does, and once more after the layout has changed.
func TestLeftBehind(t *testing.T) {
	netlab.RequireRoot(t)
	dir := filepath.Join(mountBpffs(t), "offload")
	table, err := OpenTable(dir, 10)
	must(t, err)
	table.Accept(true)
	want := make(map[uint32]*Flow)
	for _, f := range families {
		flow := f.flow()
		flow.Usage = Usage{PacketsIn: 1, BytesIn: 2, PacketsOut: 3, BytesOut: 4}
		flow.Age = time.Minute
		slot, ok := table.Offer(flow)
		if !ok {
			t.Fatal("the flow was not taken")
		}
		want[slot] = flow
	}
	must(t, table.Close())
	table, err = OpenTable(dir, 99)
	must(t, err)
	if table.Cap() != 10 || table.Len() != 2 {
		t.Errorf("the table has %d flows of %d", table.Len(), table.Cap())
	}
	table.Adopt(func(slot uint32, f *Flow) bool {
		w := want[slot]
		if d := f.Age - w.Age; d < -2*unit || d > netlab.Patience {
			t.Errorf("a flow of %v is %v old", w.Age, f.Age)
		}
		f.Age, f.Silent = w.Age, 0
		if f.Idle -= w.Idle; f.Idle < 0 || f.Idle > unit {
			t.Errorf("the idle timeout differs by %v", f.Idle)
		}
		f.Idle = w.Idle
		if *f != *w {
			t.Errorf("flow %+v, want %+v", f, w)
		}
		return w.Client.Is4()
	})
	if table.Len() != 1 {
		t.Errorf("%d flows after one was refused", table.Len())
	}
	table.maps.meta.Schema++
	must(t, table.Close())
	table, err = OpenTable(dir, 99)
	must(t, err)
	if table.Cap() != 99 || table.Len() != 0 {
		t.Errorf("of another layout, the table has %d flows of %d", table.Len(), table.Cap())
	}
	must(t, table.Close())
}

// TestSlotsRest takes slots back and hands them out again, the oldest first.
func TestSlotsRest(t *testing.T) {
	s := newSlots(3)
	now := ^units(0) - 10 // times wrap around
	for slot := range uint32(3) {
		s.give(slot, now+units(slot))
	}
	for slot := range uint32(3) {
		if got, ok := s.take(now + units(slot) + restUnits - 1); ok {
			t.Errorf("slot %d has not rested", got)
		}
		if got, ok := s.take(now + units(slot) + restUnits); !ok || got != slot {
			t.Errorf("slot %d, %v, want %d", got, ok, slot)
		}
	}
	if got, ok := s.take(now + 1000); ok {
		t.Errorf("slot %d comes from nowhere", got)
	}
}

// TestDelta compares with sums over the addresses as 16-bit words (RFC 1071).
func TestDelta(t *testing.T) {
	random := func() (a sock.Addr) {
		for i := range a.IP {
			a.IP[i] = byte(rand.Uint32() >> (rand.Uint32() % 9)) // some are zero
		}
		return a
	}
	fold := func(n uint64) uint64 {
		for n>>16 != 0 {
			n = n>>16 + n&0xffff
		}
		return n % 0xffff
	}
	sum := func(list ...sock.Addr) (n uint64) {
		for _, a := range list {
			for i := 0; i < len(a.IP); i += 2 {
				n += uint64(binary.NativeEndian.Uint16(a.IP[i:]))
			}
		}
		return n
	}
	for range 10_000 {
		a, b, c, d := random(), random(), random(), random()
		got := delta([]bpf.OffloadIpAddress{ipAddress(&a), ipAddress(&b)}, []bpf.OffloadIpAddress{ipAddress(&c), ipAddress(&d)})
		if fold(sum(a, b)+uint64(got>>16)+uint64(got&0xffff)) != fold(sum(c, d)) {
			t.Fatalf("delta %#x from %v and %v to %v and %v", got, a, b, c, d)
		}
	}
}
