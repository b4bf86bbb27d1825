package stats

import (
	"bufio"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestEveryReasonAndDropHasAWord(t *testing.T) {
	seen := make(map[string]bool)
	for r := range NumReasons {
		seen[r.String()] = true
	}
	if len(seen) != int(NumReasons) || seen[""] || seen["unknown"] {
		t.Errorf("reasons share a word or lack one: %v", seen)
	}
	clear(seen)
	for d := range NumDrops {
		seen[d.String()] = true
	}
	if len(seen) != int(NumDrops) || seen[""] || seen["unknown"] {
		t.Errorf("drops share a word or lack one: %v", seen)
	}
	clear(seen)
	for i := range NumICMP {
		seen[i.String()] = true
	}
	if len(seen) != int(NumICMP) || seen[""] || seen["unknown"] {
		t.Errorf("outcomes of ICMP errors share a word or lack one: %v", seen)
	}
}

func TestSum(t *testing.T) {
	r := NewRegistry(2).Route("web")
	r.TCP[0].Opened.Add(3)
	r.TCP[1].Opened.Add(2)
	r.TCP[0].Ended[Done].Add(1)
	r.TCP[1].Ended[ClientReset].Add(1)
	r.TCP[0].BytesIn.Add(10)
	r.TCP[1].BytesOut.Add(20)
	want := Totals{Opened: 5, Active: 3, Ended: map[string]uint64{"done": 1, "client_reset": 1}, BytesIn: 10, BytesOut: 20}
	if diff := cmp.Diff(want, Sum(r.TCP)); diff != "" {
		t.Errorf("sum (-want +got):\n%s", diff)
	}
}

func TestCountersOutliveAReload(t *testing.T) {
	reg := NewRegistry(1)
	reg.Route("web").TCP[0].Opened.Add(1)
	if n := reg.Route("web").TCP[0].Opened.Load(); n != 1 {
		t.Errorf("counters of a route of the same name start at %d, want 1", n)
	}
}

func someRecord() Record {
	return Record{
		Start: time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC), Duration: 1500 * time.Millisecond,
		ConnectTime: 2 * time.Millisecond, Protocol: "tcp", Route: "web",
		Client:      netip.MustParseAddrPort("[2001:db8::1]:1234"),
		Destination: netip.MustParseAddrPort("198.18.0.1:80"),
		BytesIn:     7, BytesOut: 8, Reason: ConnectError, Errno: syscall.EACCES, ClientRTT: 30 * time.Microsecond,
	}
}

func TestAccessLogLine(t *testing.T) {
	line := map[string]any{
		"time": "2026-01-02T03:04:05.000006Z", "protocol": "tcp", "route": "web",
		"client": "[2001:db8::1]:1234", "destination": "198.18.0.1:80", "upstream": nil,
		"bytes_in": 7.0, "bytes_out": 8.0, "connect_seconds": 0.002, "duration_seconds": 1.5,
		"client_rtt_seconds": 0.00003, "upstream_rtt_seconds": nil,
		"reason": "connect_error", "error": "permission denied",
	}
	r := someRecord()
	checkLine(t, &r, line)

	r.Open, r.Reason, r.Errno = true, 0, 0
	line["reason"] = "open"
	delete(line, "error")
	checkLine(t, &r, line)

	r.Protocol, r.Open, r.PacketsIn = "udp", false, 1
	line["protocol"], line["reason"], line["datagrams_in"], line["datagrams_out"] = "udp", "done", 1.0, 0.0
	delete(line, "client_rtt_seconds")
	delete(line, "upstream_rtt_seconds")
	checkLine(t, &r, line)
}

// checkLine wants the line of a record to be JSON that means want.
func checkLine(t *testing.T, r *Record, want map[string]any) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "access.log")
	l, err := OpenAccessLog(path)
	if err != nil {
		t.Fatal(err)
	}
	l.Log(r)
	l.Close()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatalf("not JSON: %v\n%s", err, text)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("line (-want +got):\n%s", diff)
	}
}

func TestAccessLogReopens(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	l, err := OpenAccessLog(path)
	if err != nil {
		t.Fatal(err)
	}
	r := someRecord()
	l.Log(&r)
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	if err := l.Reopen(); err != nil {
		t.Fatal(err)
	}
	l.Log(&r)
	l.Log(&r)
	l.Close()
	if old, fresh := countLines(t, path+".1"), countLines(t, path); old+fresh != 3 || fresh < 2 {
		t.Errorf("%d lines in the rotated file, %d in the new one, want 3 in all and the last 2 in the new", old, fresh)
	}
	if n := l.Lost(); n != 0 {
		t.Errorf("%d lines lost", n)
	}
}

func countLines(t *testing.T, path string) int {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n := 0
	for s := bufio.NewScanner(f); s.Scan(); {
		n++
	}
	return n
}

// A log whose disk is full counts what it loses and does not stop whoever logs.
func TestAccessLogCountsWhatItLoses(t *testing.T) {
	l, err := OpenAccessLog("/dev/full")
	if err != nil {
		t.Fatal(err)
	}
	r := someRecord()
	const records = 5000 // fewer than the queue holds
	for range records {
		l.Log(&r)
	}
	l.Close()
	if l.Lost() != records {
		t.Errorf("%d lines counted as lost on a full disk, want %d", l.Lost(), records)
	}
}

func TestNilAccessLog(t *testing.T) {
	var l *AccessLog
	r := someRecord()
	l.Log(&r)
	if err := l.Reopen(); err != nil || l.Lost() != 0 {
		t.Errorf("reopen: %v, lost: %d", err, l.Lost())
	}
	l.Close()
}

func TestOpenAccessLogFails(t *testing.T) {
	_, err := OpenAccessLog(t.TempDir() + "/missing/access.log")
	if err == nil || !strings.Contains(err.Error(), "access log") {
		t.Errorf("error = %v, want one that names the access log", err)
	}
}

func TestLogAllocatesNothing(t *testing.T) {
	l := &AccessLog{queue: make(chan Record, 1)}
	r := someRecord()
	if n := testing.AllocsPerRun(100, func() { l.Log(&r) }); n != 0 {
		t.Errorf("%v allocations for a record, want 0", n)
	}
	var line []byte
	line = r.appendJSON(line)
	if n := testing.AllocsPerRun(100, func() { line = r.appendJSON(line[:0]) }); n != 0 {
		t.Errorf("%v allocations for a line, want 0", n)
	}
}

func TestCollector(t *testing.T) {
	reg := NewRegistry(1)
	s := &reg.Route("web").TCP[0]
	s.Opened.Add(2)
	s.Ended[Done].Add(1)
	reg.Drops[0].N[DropStray].Add(5)
	c := &Collector{Registry: reg, KernelDrops: func() (uint64, uint64) { return 3, 4 }}
	p := prometheus.NewPedanticRegistry()
	if err := p.Register(c); err != nil {
		t.Fatal(err)
	}
	problems, err := testutil.GatherAndLint(p)
	if err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v, %v", problems, err)
	}
	want := `
# HELP anyport_connections_active TCP connections and UDP flows that are open now.
# TYPE anyport_connections_active gauge
anyport_connections_active{protocol="tcp",route=""} 0
anyport_connections_active{protocol="tcp",route="web"} 1
anyport_connections_active{protocol="udp",route=""} 0
anyport_connections_active{protocol="udp",route="web"} 0
# HELP anyport_udp_socket_drops_total Datagrams that the kernel dropped because a UDP socket's receive buffer was full.
# TYPE anyport_udp_socket_drops_total counter
anyport_udp_socket_drops_total{socket="clients"} 3
anyport_udp_socket_drops_total{socket="replies"} 4
`
	err = testutil.GatherAndCompare(p, strings.NewReader(want), "anyport_connections_active", "anyport_udp_socket_drops_total")
	if err != nil {
		t.Error(err)
	}
}
