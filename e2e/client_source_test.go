package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"anyport/bench/netlab"
)

// clientSource sends TCP to the upstreams from the clients' addresses: in one route to a port of its own, in the others
// to the original one.
const clientSource = prefixes + `
[[route]]
name = "v4"
protocol = "tcp"
prefix = ["198.18.0.0/20"]
upstream = ["10.2.0.2:7000"]
source = "client"
[[route]]
name = "v6"
protocol = "tcp"
prefix = ["2001:db8::/48"]
ports = "4000-7000"
upstream = ["fd00:2::2"]
source = "client"
`

// hostSource is clientSource without it.
var hostSource = strings.ReplaceAll(clientSource, "source = \"client\"\n", "")

// targets is where clients dial, in both families.
var targets = []netip.AddrPort{netip.MustParseAddrPort("198.18.7.7:7000"), netip.MustParseAddrPort("[2001:db8::7]:7000")}

// newReturnWorld makes a network whose upstream tells every client whom it takes it for, and routes clients' addresses
// back by the proxy.
func newReturnWorld(t *testing.T) *world {
	t.Helper()
	netlab.RequireRoot(t)
	netlab.RequireProgram(t, "ip")
	w := newWorld(t)
	w.upstreams(7000, func(c *net.TCPConn) {
		fmt.Fprintln(c, c.RemoteAddr())
		io.Copy(c, c)
	})
	w.must(w.Upstream.AddRoute(netip.MustParsePrefix("10.1.0.0/24"), netlab.ProxyUpstream4))
	w.must(w.Upstream.AddRoute(netip.MustParsePrefix("fd00:1::/64"), netlab.ProxyUpstream6))
	return w
}

// returnRules lists the proxy's policy rules that are anyport's.
func (w *world) returnRules() (rules []string) {
	w.t.Helper()
	for _, family := range []string{"-4", "-6"} {
		out, err := w.Proxy.Command("ip", family, "rule", "show").Output()
		w.must(err)
		for line := range strings.Lines(string(out)) {
			if strings.Contains(line, "proto 97") {
				rules = append(rules, strings.Join(strings.Fields(line), " "))
			}
		}
	}
	return rules
}

// seenClient is a connection whose upstream has told whom it sees.
type seenClient struct {
	*net.TCPConn
	in   *bufio.Reader
	seen string
}

func (w *world) openSeen(to netip.AddrPort) *seenClient {
	w.t.Helper()
	c, err := dial(w.Client, to)
	w.must(err)
	w.t.Cleanup(func() { c.Close() })
	s := &seenClient{TCPConn: c, in: bufio.NewReader(c)}
	line, err := s.in.ReadString('\n')
	if err != nil {
		w.t.Fatalf("%s: %v", to, err)
	}
	s.seen = strings.TrimSpace(line)
	return s
}

// echoes sends a line and reads it back.
func (s *seenClient) echoes() error {
	s.SetDeadline(time.Now().Add(deadline))
	if _, err := io.WriteString(s, "hello\n"); err != nil {
		return err
	}
	if line, err := s.in.ReadString('\n'); err != nil || line != "hello\n" {
		return fmt.Errorf("echoed %q, %v", line, err)
	}
	return nil
}

// checkSeen opens a connection to each target, and wants its upstream to see the client itself, or the proxy.
func (w *world) checkSeen(client bool) {
	w.t.Helper()
	for _, to := range targets {
		c := w.openSeen(to)
		if (c.seen == c.LocalAddr().String()) != client {
			w.t.Errorf("%s: the upstream sees %s, the client is %s", to, c.seen, c.LocalAddr())
		}
		w.must(c.echoes())
		c.Close()
	}
}

// TestClientSource: upstreams see the clients' addresses and ports, by two narrow rules, for which the proxy does not
// answer ARP and neighbour solicitations for others. The rules are put back, outlive neither the daemon nor a killed
// one's successor that does not want them, and go with the last connection of a route that has lost them.
func TestClientSource(t *testing.T) {
	w := newReturnWorld(t)
	w.Proxy.Command("ip", "rule", "add", "from", "192.0.2.1", "lookup", "main", "priority", "97").Run()
	d := w.run(clientSource)
	w.checkSeen(true)
	rules := w.returnRules()
	want := []string{
		"97: from 10.2.0.2 iif upstream0 ipproto tcp sport 7000 lookup 9797 proto 97",
		"97: from fd00:2::2 iif upstream0 ipproto tcp sport 4000-7000 lookup 9797 proto 97",
	}
	if fmt.Sprint(rules) != fmt.Sprint(want) {
		t.Errorf("rules %q, want %q", rules, want)
	}
	for _, family := range []string{"-4", "-6"} {
		w.must(w.Proxy.Command("ip", family, "rule", "del", "priority", "97", "lookup", "9797").Run())
	}
	waitFor(t, "the rules are put back", func() bool { return len(w.returnRules()) == 2 })
	w.checkSeen(true)
	w.checkAnswersForNobody()

	w.must(d.Signal(syscall.SIGKILL))
	<-d.Done()
	if len(w.returnRules()) != 2 {
		t.Error("a killed daemon's rules have gone: nothing here tests that a start removes them")
	}
	d = w.run(clientSource) // upstreams still hold the connections of the one before
	w.checkSeen(true)
	w.must(d.Signal(syscall.SIGKILL))
	<-d.Done()
	d = w.run(hostSource)
	if rules := w.returnRules(); len(rules) != 0 {
		t.Errorf("rules of a daemon that was killed: %q", rules)
	}
	w.checkSeen(false)

	d.reload(clientSource)
	waitFor(t, "the reload", func() bool { return len(w.returnRules()) == 2 })
	waitFor(t, "routes with the clients' addresses", func() bool {
		c := w.openSeen(targets[0])
		defer c.Close()
		return c.seen == c.LocalAddr().String()
	})
	var open []*seenClient
	for _, to := range targets {
		open = append(open, w.openSeen(to))
	}
	d.reload(hostSource)
	waitFor(t, "routes with the proxy's address", func() bool {
		c := w.openSeen(targets[0])
		defer c.Close()
		return c.seen != c.LocalAddr().String()
	})
	for range 30 { // longer than an idle path is left alone
		for _, c := range open {
			w.must(c.echoes())
		}
		time.Sleep(200 * time.Millisecond)
	}
	for _, c := range open {
		c.Close()
	}
	waitFor(t, "the rules go with the last connection", func() bool { return len(w.returnRules()) == 0 })
	w.checkSeen(false)
	d.reload(clientSource)
	waitFor(t, "the reload", func() bool { return len(w.returnRules()) == 2 })
	d.stop()
	if rules := w.returnRules(); len(rules) != 0 {
		t.Errorf("rules after the end: %q", rules)
	}
	out, _ := w.Proxy.Command("ip", "rule", "show").Output()
	if !strings.Contains(string(out), "from 192.0.2.1 lookup main") {
		t.Errorf("somebody else's rule has gone:\n%s", out)
	}
}

// checkAnswersForNobody has the upstream look for neighbours that do not exist.
func (w *world) checkAnswersForNobody() {
	w.t.Helper()
	for _, nobody := range []string{"10.2.0.77", "fd00:2::77"} {
		err := w.Upstream.Do(func() error {
			c, err := net.DialTimeout("tcp", net.JoinHostPort(nobody, "7000"), deadline)
			if err == nil {
				c.Close()
			}
			return err
		})
		out, _ := w.Upstream.Command("ip", "neigh", "show", "to", nobody).Output()
		if strings.Contains(string(out), "lladdr") || err == nil || isRefused(err) {
			w.t.Errorf("somebody answers for %s: %v, %s", nobody, err, out)
		}
	}
}

// An upstream that is on the proxy's own host is refused by its address.
func TestClientSourceOfLocalUpstream(t *testing.T) {
	w := newReturnWorld(t)
	path := w.file("anyport.toml", strings.ReplaceAll(clientSource, "10.2.0.2:7000", "10.2.0.1:7000"))
	_, errs, status := w.anyport("run", "-c", path)
	if want := "10.2.0.1 is on this host, and would answer clients directly"; status != 1 || !strings.Contains(errs, want) {
		t.Errorf("run ended with %d: %s", status, errs)
	}
}
