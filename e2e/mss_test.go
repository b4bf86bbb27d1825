package e2e

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"anyport/bench/netlab"
)

// segment is a TCP segment that was seen on the wire.
type segment struct {
	from    netip.AddrPort
	mss     int // of its option; 0: it has none
	payload int // bytes
}

// parseSegment reads an Ethernet frame without VLAN tag.
func parseSegment(frame []byte) (s segment, ok bool) {
	ip, ok := parseIP(frame, ethernetHeader)
	if !ok || ip.protocol != unix.IPPROTO_TCP {
		return s, false
	}
	header := int(ip.payload[12]>>4) * 4
	if header < 20 || header > len(ip.payload) {
		return s, false
	}
	s.from = netip.AddrPortFrom(ip.src, binary.BigEndian.Uint16(ip.payload))
	s.payload = len(ip.payload) - header
	s.mss = mssOption(ip.payload[20:header])
	return s, true
}

// mssOption returns the maximum segment size among TCP options (RFC 9293, section 3.2), or 0.
func mssOption(options []byte) int {
	const end, nop, mss = 0, 1, 2
	for len(options) > 0 && options[0] != end {
		switch {
		case options[0] == nop:
			options = options[1:]
			continue
		case len(options) < 2 || options[1] < 2 || int(options[1]) > len(options):
			return 0
		case options[0] == mss && options[1] == 4:
			return int(binary.BigEndian.Uint16(options[2:]))
		}
		options = options[options[1]:]
	}
	return 0
}

// segmentsFrom returns what has been captured of a sender: the MSS that it announced, the largest payload, and the sum.
func (c *capture) segmentsFrom(sender netip.AddrPort) (mss, largest, sum int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.segments {
		if s.from == sender {
			mss, largest, sum = max(mss, s.mss), max(largest, s.payload), sum+s.payload
		}
	}
	return mss, largest, sum
}

// timestamps is what the TCP option of that name takes of each segment (RFC 7323, appendix A).
const timestamps = 12

// mssCases are routes by their port: the mss in the file, and the largest segments over IPv4 and IPv6, without cookies
// and with them, on links of 1500 bytes.
var mssCases = []struct {
	port           uint16
	mss            int
	told, received [2]int
	withCookies    [2]int
}{
	{1000, 0, [2]int{1460, 1440}, [2]int{1460, 1440}, [2]int{1460, 1440}},
	{1001, 1360, [2]int{1360, 1360}, [2]int{1360, 1360}, [2]int{1300, 1220}}, // a cookie rounds down to one of four
	{1002, 600, [2]int{600, 600}, [2]int{600, 600}, [2]int{536, 1220}},
	{1003, 9000, [2]int{1460, 1440}, [2]int{1460, 1440}, [2]int{1460, 1440}}, // more than the link allows
}

// mssConfig has a route for each case, for TCP and UDP.
func mssConfig() string {
	config := prefixes
	for _, c := range mssCases {
		config += fmt.Sprintf("[[route]]\nports = \"%d\"\nmss = %d\nupstream = [\"10.2.0.2:7000\"]\n", c.port, c.mss)
	}
	return config
}

// TestMSS reads from the wire what clients are told and what they get, and asks anyport about it.
func TestMSS(t *testing.T) {
	for _, cookies := range []bool{false, true} {
		t.Run(fmt.Sprintf("cookies=%v", cookies), func(t *testing.T) { testMSS(t, cookies) })
	}
}

func testMSS(t *testing.T, cookies bool) {
	w := newWorld(t)
	if cookies {
		w.must(w.Proxy.Sysctl("net.ipv4.tcp_syncookies", "2"))
	}
	oneSegmentAtATime(t, w.Proxy, "client0")
	w.upstreams(7000, echoAs("upstream"))
	w.run(mssConfig())
	much := bytes.Repeat([]byte("0123456789"), 5000)
	seen := startCapture(t, w.Client, "proxy0")
	for i, f := range families {
		for _, c := range mssCases {
			to := withPort(f.address(w.rng), c.port)
			if err := tryEcho(w.Client, to, "upstream\n", much); err != nil {
				t.Fatal(err)
			}
			waitFor(t, "all of the answer on the wire", func() bool { _, _, sum := seen.segmentsFrom(to); return sum >= len(much) })
			want := c.received[i]
			if cookies {
				want = c.withCookies[i]
			}
			if mss, largest, _ := seen.segmentsFrom(to); mss != c.told[i] || largest != want-timestamps {
				t.Errorf("%s, mss = %d: told %d and got up to %d bytes, want %d and %d", to, c.mss, mss, largest,
					c.told[i], want-timestamps)
			}
			checkGreeting(t, w, to, "upstream") // over UDP, too
		}
	}
	checkMSSReports(t, w)
}

// oneSegmentAtATime keeps the kernel from handing several segments to a device as one.
func oneSegmentAtATime(t *testing.T, ns *netlab.Namespace, device string) {
	t.Helper()
	if out, err := ns.Command("ip", "link", "set", "dev", device, "gso_max_segs", "1").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// checkMSSReports wants the listeners in status and explain.
func checkMSSReports(t *testing.T, w *world) {
	t.Helper()
	status, _, _ := w.anyport("status")
	for _, want := range []string{"proxy, mss 600 ", "proxy, mss 1360 ", "proxy, mss 9000 "} {
		if n := strings.Count(status, want); n != 2 { // TCP and UDP
			t.Errorf("status names %q %d times, want 2:\n%s", want, n, status)
		}
	}
	told, _, code := w.anyport("explain", "198.18.1.2:1001/tcp")
	if code != 0 || !strings.Contains(told, "mss:      1360\n") {
		t.Errorf("explain, exit %d:\n%s", code, told)
	}
	if told, _, _ := w.anyport("explain", "198.18.1.2:1000/tcp"); strings.Contains(told, "mss") {
		t.Errorf("explain tells of an mss where there is none:\n%s", told)
	}
}

// TestMSSUnderReload gives the routes under load another mss ten times, and none: no connection may fail, and new
// clients are told the new one.
func TestMSSUnderReload(t *testing.T) {
	w := newWorld(t)
	w.upstreams(7000, echoAs("rest"))
	config := func(mss int) string {
		return fmt.Sprintf(prefixes+"[[route]]\nname = \"rest\"\nmss = %d\nupstream = [\"10.2.0.2:7000\"]\n", mss)
	}
	d := w.run(config(0))
	var load load
	load.start(w)
	for i := range 10 {
		want := [...]int{1200, 0, 1300, 1200, 900}[i%5]
		before := load.rounds.Load()
		d.reload(config(want))
		if want == 0 {
			want = 1460
		}
		waitFor(t, fmt.Sprintf("clients to be told %d", want), func() bool { return toldMSS(t, w) == want })
		waitFor(t, "the load to go on", func() bool { return load.rounds.Load() > before+20 })
	}
	if err := load.end(); err != nil {
		t.Error(err)
	}
}

// toldMSS returns the MSS that an IPv4 client is told, from the client's socket.
func toldMSS(t *testing.T, w *world) (mss int) {
	t.Helper()
	c, err := dial(w.Client, netip.MustParseAddrPort("198.18.3.3:4000"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.ReadFull(c, make([]byte, len("rest\n"))); err != nil {
		t.Fatal(err)
	}
	return sendMSS(t, c) + timestamps
}

// sendMSS returns how large the segments are that a socket sends, without options.
func sendMSS(t *testing.T, c *net.TCPConn) (mss int) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err == nil {
		controlErr := raw.Control(func(fd uintptr) {
			mss, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG)
		})
		if err == nil {
			err = controlErr
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return mss
}
