package bench

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"anyport/bench/netlab"
)

// TestTrackingIsChecked measures on a table that is not full as if it were: a row that tells of a full table must not
// come of it.
func TestTrackingIsChecked(t *testing.T) {
	lab := netlab.New(t)
	netlab.RequireProgram(t, "nft")
	s := &steerRun{session: &session{lab: lab, rng: rand.New(rand.NewPCG(1, 1))}, family: &steerFamilies[0]}
	defer func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	}()
	var err error
	var packets stream
	if s.generator, err = newGenerator(2 * streamFrames); err == nil {
		err = errors.Join(s.readTracking(), s.add(&packets, streamFrames, destinations, steerPort, udpFrame))
	}
	if err != nil {
		t.Fatal(err)
	}
	plain := steerSubject{steerModes[0], trackedNotFull}
	b, err := s.bed(plain, nil)
	if err != nil {
		t.Fatal(err)
	}
	measure := func() (Sample, error) { return b.measurePackets(packets) }
	if _, err := b.measureTracked(trackedFull, packets, measure); err == nil || !strings.Contains(err.Error(), "entries of") {
		t.Errorf("a table with %d flows of %d is taken for a full one: %v", streamFrames, s.tracking.max, err)
	}
	if sample, err := b.measureTracked(trackedNotFull, packets, measure); err != nil || sample.Lost > 0 {
		t.Errorf("%+v, %v", sample, err)
	}
	if n, err := netfilterSysctl(b.server, "nf_conntrack_count"); n > 0 || err != nil {
		t.Errorf("the measurement leaves %d entries, %v", n, err)
	}
}

func TestTrackingTableCannot(t *testing.T) {
	for _, test := range []struct {
		table trackingTable
		how   tracked
		want  string
	}{
		{trackingTable{max: 262144, fill: 266240}, trackedNotFull, ""},
		{trackingTable{max: 262144, fill: 266240}, trackedFull, ""},
		{trackingTable{max: 8192, fill: 12288}, trackedNotFull, "nf_conntrack_max is 8192: a measurement fills the table"},
		{trackingTable{max: 8192, fill: 12288}, trackedFull, ""},
		{trackingTable{max: 4194304}, trackedFull, "nf_conntrack_max is 4194304: more than this suite fills"},
	} {
		if got := test.table.cannot(test.how); got != test.want {
			t.Errorf("%+v, %d: %q, want %q", test.table, test.how, got, test.want)
		}
	}
}

func TestCounter(t *testing.T) {
	const text = "TcpExt: SyncookiesSent SyncookiesRecv\nTcpExt: 12 34\nIpExt: InNoRoutes SyncookiesSent\nIpExt: 5 6\n"
	if n, err := counter(text, "TcpExt:", "SyncookiesSent"); n != 12 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if n, err := counter(text, "IpExt:", "SyncookiesSent"); n != 6 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := counter(text, "TcpExt:", "ListenDrops"); err == nil {
		t.Error("a counter that is not there has a value")
	}
}
