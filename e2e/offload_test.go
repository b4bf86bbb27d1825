package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"anyport/bench/netlab"
)

// offloadConfig sends UDP to the upstream of the client's family, through the kernel after two datagrams, and logs.
func offloadConfig(w *world, more string) string {
	return fmt.Sprintf(prefixes+`access_log = %q
[[route]]
name = "v4"
protocol = "udp"
prefix = ["198.18.0.0/20"]
upstream = ["10.2.0.2:9000"]
offload = "auto"
offload_after = 2
%[2]s
[[route]]
name = "v6"
protocol = "udp"
prefix = ["2001:db8::/48"]
upstream = ["[fd00:2::2]:9000"]
offload = "auto"
offload_after = 2
%[2]s
`, w.dir+"/access.json", more)
}

// offloaded is a client's flow that the kernel forwards.
type offloaded struct {
	t    *testing.T
	c    *net.UDPConn
	nat  string // where the upstream sees it
	sent int    // bytes
	n    int    // datagrams
}

// newOffloaded opens a flow to an address of the family. The upstream tells where it sees its datagrams come from.
func newOffloaded(t *testing.T, w *world, f family) *offloaded {
	t.Helper()
	o := &offloaded{t: t}
	w.must(w.Client.Do(func() (err error) {
		o.c, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(f.destination(w.rng)))
		return err
	}))
	t.Cleanup(func() { o.c.Close() })
	for range 10 {
		o.exchange(100)
	}
	return o
}

// exchange sends a datagram and expects the answer: the address that it came from, and itself.
func (o *offloaded) exchange(size int) {
	o.t.Helper()
	if err := o.try(size); err != nil {
		o.t.Fatal(err)
	}
}

func (o *offloaded) try(size int) error {
	question := bytes.Repeat([]byte{byte(o.n)}, size)
	if _, err := o.c.Write(question); err != nil {
		return err
	}
	answer := make([]byte, 1<<16)
	o.c.SetReadDeadline(time.Now().Add(deadline))
	n, err := o.c.Read(answer)
	if err != nil {
		return fmt.Errorf("after %d datagrams: %w", o.n, err)
	}
	o.n++
	o.sent += size
	from, echoed, _ := bytes.Cut(answer[:n], []byte{'\n'})
	if !bytes.Equal(echoed, question) {
		return fmt.Errorf("%d bytes came back for %d", len(echoed), size)
	}
	if o.nat == "" {
		o.nat = string(from)
	}
	if o.nat != string(from) {
		return fmt.Errorf("the upstream sees %s, and then %s", o.nat, from)
	}
	return nil
}

// tellSource answers every datagram with its source, a newline and itself.
func tellSource(t *testing.T, c *net.UDPConn) {
	done := make(chan struct{})
	go tellSourceLoop(c, done)
	t.Cleanup(func() {
		c.Close()
		<-done
	})
}

func tellSourceLoop(c *net.UDPConn, done chan<- struct{}) {
	defer close(done)
	buf := make([]byte, 1<<16)
	for {
		n, from, err := c.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		c.WriteToUDPAddrPort(append([]byte(from.String()+"\n"), buf[:n]...), from)
	}
}

func offloadWorld(t *testing.T) *world {
	w := newWorld(t)
	for _, f := range families {
		c := listenPacket(t, w.Upstream, netip.AddrPortFrom(f.upstream, 9000).String())
		w.growBuffer(c)
		tellSource(t, c)
	}
	return w
}

// growBuffer lets a socket hold what comes while its reader waits for a core.
func (w *world) growBuffer(c *net.UDPConn) {
	w.t.Helper()
	raw, err := c.SyscallConn()
	w.must(err)
	var failed error
	w.must(raw.Control(func(fd uintptr) {
		failed = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUFFORCE, 8<<20)
	}))
	w.must(failed)
}

// offloadStatus is what the daemon tells of offload.
type offloadStatus struct {
	On    bool
	Why   string
	Flows int
}

func (w *world) offloadStatus() (s offloadStatus) {
	w.t.Helper()
	out, errs, status := w.anyport("status", "--json")
	var r struct {
		Daemon struct{ Offload *offloadStatus }
	}
	if err := json.Unmarshal([]byte(out), &r); status != 0 || err != nil || r.Daemon.Offload == nil {
		w.t.Fatalf("anyport status --json ended with %d, %v: %s", status, err, errs)
	}
	return *r.Daemon.Offload
}

// logLines waits for n lines in the access log.
func (w *world) logLines(n int) []string {
	w.t.Helper()
	var lines []string
	waitFor(w.t, fmt.Sprintf("%d lines in the access log", n), func() bool {
		text, err := os.ReadFile(w.dir + "/access.json")
		lines = strings.Split(strings.TrimSpace(string(text)), "\n")
		return err == nil && len(lines) >= n && lines[0] != ""
	})
	return lines
}

// TestOffloadAndKill has the kernel forward flows, kills the daemon and goes on; a new daemon takes the flows over. What
// was carried before, meanwhile and after is in the status and in the log.
func TestOffloadAndKill(t *testing.T) {
	w := offloadWorld(t)
	d := w.run(offloadConfig(w, ""))
	var flows []*offloaded
	for _, f := range families {
		flows = append(flows, newOffloaded(t, w, f))
	}
	if s := w.offloadStatus(); !s.On || s.Flows != 2 {
		t.Fatalf("offload is %+v", s)
	}
	for _, o := range flows {
		o.exchange(3000) // fragments go through the sockets
	}
	w.must(d.Signal(syscall.SIGKILL))
	<-d.Done()
	for i, o := range flows {
		for range 100 {
			o.exchange(1000)
		}
		if err := refusal(w.Client, "udp", families[i].destination(w.rng)); !isRefused(err) {
			t.Errorf("a new flow after the kill: %v, want a refusal", err)
		}
	}
	d = w.run(offloadConfig(w, ""))
	if s := w.offloadStatus(); !s.On || s.Flows != 2 {
		t.Fatalf("the new daemon's offload is %+v", s)
	}
	for _, o := range flows {
		o.exchange(1000)
		o.exchange(3000)
	}
	waitFor(t, "the flows to be seen", func() bool {
		r := w.status().Daemon.Routes
		return r[0].UDP.Active == 1 && r[1].UDP.Active == 1 && r[0].UDP.BytesIn == 4000 && r[1].UDP.BytesIn == 4000
	})
	d.stop()
	for i, line := range w.logLines(2) {
		var entry struct {
			Route, Reason string
			BytesIn       int `json:"bytes_in"`
			BytesOut      int `json:"bytes_out"`
			PacketsIn     int `json:"datagrams_in"`
		}
		w.must(json.Unmarshal([]byte(line), &entry))
		if entry.BytesIn != flows[i].sent || entry.PacketsIn != flows[i].n || entry.BytesOut <= entry.BytesIn || entry.Reason != "drained" {
			t.Errorf("%s, want %d bytes in %d datagrams", line, flows[i].sent, flows[i].n)
		}
	}
	checkForwardingOff(t, w)
}

// checkForwardingOff looks whether lo is as it was before.
func checkForwardingOff(t *testing.T, w *world) {
	t.Helper()
	for _, family := range []string{"ipv4", "ipv6"} {
		out, err := w.Proxy.Command("cat", "/proc/sys/net/"+family+"/conf/lo/forwarding").Output()
		if err != nil || string(out) != "0\n" {
			t.Errorf("forwarding of %s on lo is %q, %v", family, out, err)
		}
	}
}

// TestOffloadOffWhereRulesWouldBeSkipped adds rules of each kind of packet filter: flows go on through the sockets, and
// status tells why, until the rules have gone.
func TestOffloadOffWhereRulesWouldBeSkipped(t *testing.T) {
	w := offloadWorld(t)
	w.run(offloadConfig(w, ""))
	var flows []*offloaded
	for _, f := range families {
		flows = append(flows, newOffloaded(t, w, f))
	}
	for _, c := range []struct{ add, remove, why string }{
		{"nft add table inet t ; add chain inet t in { type filter hook input priority 0 ; } ; add rule inet t in accept",
			"nft delete table inet t", "nf_tables chain in of table t has rules"},
		{"iptables-legacy -A INPUT -j ACCEPT", "iptables-legacy -F INPUT", "iptables table filter has rules"},
		{"ip6tables-legacy -t mangle -A PREROUTING -j ACCEPT", "ip6tables-legacy -t mangle -F PREROUTING",
			"ip6tables table mangle has rules"},
		{"iptables-nft -t raw -A OUTPUT -j ACCEPT", "iptables-nft -t raw -F OUTPUT", "nf_tables chain OUTPUT of table raw has rules"},
		{"ip xfrm policy add dir out dst 192.0.2.1 tmpl proto esp mode tunnel", "ip xfrm policy flush", "there are IPsec policies"},
	} {
		inside(t, w.Proxy, c.add)
		waitFor(t, "offload to go off", func() bool { s := w.offloadStatus(); return !s.On && s.Why == c.why })
		for _, o := range flows {
			o.exchange(100)
		}
		inside(t, w.Proxy, c.remove)
		waitFor(t, "offload to come back", func() bool { return w.offloadStatus().On })
		for _, o := range flows {
			o.exchange(100)
		}
	}
	inside(t, w.Proxy, "nft add table inet t ; add chain inet t forwarded { type filter hook forward priority 0 ; } ; add rule inet t forwarded drop")
	time.Sleep(3 * time.Second) // longer than the time between two looks
	if s := w.offloadStatus(); !s.On {
		t.Errorf("a rule for what is forwarded by the host itself: offload is off, %s", s.Why)
	}
}

// inside runs a command in a namespace.
func inside(t *testing.T, ns *netlab.Namespace, command string) {
	t.Helper()
	name, args, _ := strings.Cut(command, " ")
	words := strings.Fields(args)
	if name == "nft" {
		words = []string{args}
	}
	if out, err := ns.Command(name, words...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
}

// TestOffloadedFlowEnds has flows end by their idle timeout, and by a reload that removes their route.
func TestOffloadedFlowEnds(t *testing.T) {
	w := offloadWorld(t)
	d := w.run(offloadConfig(w, `idle_timeout = "2s"`))
	for _, f := range families {
		newOffloaded(t, w, f)
	}
	for _, line := range w.logLines(2) {
		if !strings.Contains(line, `"reason":"idle_timeout"`) || !strings.Contains(line, `"datagrams_in":10,`) {
			t.Error(line)
		}
	}
	if s := w.offloadStatus(); s.Flows != 0 {
		t.Errorf("%d flows in the kernel after they have ended", s.Flows)
	}
	var flows []*offloaded
	d.reload(offloadConfig(w, `idle_timeout = "1h"`))
	waitFor(t, "the reload", func() bool { return strings.Contains(d.Output(), "reloaded") })
	for _, f := range families {
		flows = append(flows, newOffloaded(t, w, f))
	}
	d.reload(prefixes + "[[route]]\nname = \"v4\"\nprotocol = \"udp\"\nprefix = [\"198.18.0.0/20\"]\nupstream = [\"10.2.0.2:9000\"]\n")
	for _, line := range w.logLines(3)[2:] {
		if !strings.Contains(line, `"reason":"route_removed"`) || !strings.Contains(line, `"route":"v6"`) {
			t.Error(line)
		}
	}
	flows[0].exchange(100)
	if err := flows[1].try(100); !isRefused(err) {
		t.Errorf("the flow of a route that has gone: %v, want a refusal", err)
	}
	if s := w.offloadStatus(); s.Flows != 0 {
		t.Errorf("%d flows in the kernel, though no route wants it", s.Flows)
	}
}
