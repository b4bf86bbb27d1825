package e2e

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"anyport/bench/netlab"
)

// movingUpstream is an upstream that comes and goes: an echo over TCP that sends its name first, and one over UDP.
type movingUpstream struct {
	w    *world
	at   netip.AddrPort
	name string
	tcp  net.Listener
	udp  *net.UDPConn
}

func (w *world) movingUpstream(at, name string) *movingUpstream {
	u := &movingUpstream{w: w, at: netip.MustParseAddrPort(at), name: name}
	u.start()
	return u
}

func (u *movingUpstream) start() {
	u.w.t.Helper()
	u.tcp = listen(u.w.t, u.w.Upstream, u.at.String())
	serve(u.w.t, u.tcp, echoAs(u.name))
	u.udp = listenPacket(u.w.t, u.w.Upstream, u.at.String())
	servePackets(u.w.t, u.udp, same)
}

// stop has the upstream take nothing new, waits for handshakes that are under way and serves what its accept queue holds,
// which no proxy could give to another one, and then closes its ports. Connections that are open go on.
func (u *movingUpstream) stop() {
	u.w.t.Helper()
	u.filter("-A")
	waitFor(u.w.t, "handshakes with an upstream to end", func() bool { return !u.shakesHands() })
	waitFor(u.w.t, "the accept queue of an upstream to empty", func() bool { return queued(u.w.t, u.tcp) == 0 })
	u.tcp.Close()
	u.udp.Close()
	u.filter("-D")
}

// filter adds or deletes the rule that refuses new connections as a closed port does.
func (u *movingUpstream) filter(action string) {
	u.w.t.Helper()
	tool := "iptables-nft"
	if u.at.Addr().Is6() {
		tool = "ip6tables-nft"
	}
	out, err := u.w.Upstream.Command(tool, "-w", action, "INPUT", "-p", "tcp", "--syn", "-d", u.at.Addr().String(),
		"--dport", fmt.Sprint(u.at.Port()), "-j", "REJECT", "--reject-with", "tcp-reset").CombinedOutput()
	if err != nil {
		u.w.t.Fatalf("%s: %v: %s", tool, err, out)
	}
}

// shakesHands reports whether a handshake has begun, and its last packet has not come yet.
func (u *movingUpstream) shakesHands() bool {
	u.w.t.Helper()
	out, err := u.w.Upstream.Command("ss", "-Htn", "state", "syn-recv", fmt.Sprintf("( sport = :%d )", u.at.Port())).CombinedOutput()
	if err != nil {
		u.w.t.Fatalf("ss: %v: %s", err, out)
	}
	return len(out) > 0
}

// queued returns how many connections wait to be accepted.
func queued(t *testing.T, l net.Listener) (n uint32) {
	t.Helper()
	raw, err := l.(*net.TCPListener).SyscallConn()
	if err == nil {
		var info *unix.TCPInfo
		controlErr := raw.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) })
		if err = errors.Join(controlErr, err); err == nil {
			return info.Unacked
		}
	}
	t.Fatal(err)
	return 0
}

// retriedDatagrams sends datagrams, each from a socket of its own and again until it is answered, as UDP's clients do.
func (l *load) retriedDatagrams(ns *netlab.Namespace, f family, rng *rand.Rand) error {
	return ns.Do(func() error {
		for l.going() {
			if err := retryPacket(steady(f, rng), []byte("hello")); err != nil {
				return err
			}
		}
		return nil
	})
}

func retryPacket(to netip.AddrPort, payload []byte) error {
	c, err := net.Dial("udp", to.String())
	if err != nil {
		return err
	}
	defer c.Close()
	got := make([]byte, 1<<16)
	for end := time.Now().Add(deadline); time.Now().Before(end); {
		if _, err = c.Write(payload); err != nil {
			continue // of the one before: the upstream has refused it
		}
		c.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		var n int
		if n, err = c.Read(got); err == nil {
			if string(got[:n]) != string(payload) {
				return fmt.Errorf("datagram to %s: %q came back", to, got[:n])
			}
			return nil
		}
	}
	return fmt.Errorf("datagram to %s: never answered: %w", to, err)
}

// awaitUpstream waits until an upstream of the first route is up, or not.
func (w *world) awaitUpstream(at netip.AddrPort, up bool) {
	w.t.Helper()
	waitFor(w.t, fmt.Sprintf("%s: up %v", at, up), func() bool {
		for _, u := range w.status().Daemon.Routes[0].Upstreams {
			if u.Upstream == at.String() {
				return (u.State == "up") == up
			}
		}
		return false
	})
}

// goOn waits until the load has done some more rounds.
func (l *load) goOn(t *testing.T) {
	t.Helper()
	before := l.rounds.Load()
	waitFor(t, "the load to go on", func() bool { return l.rounds.Load() > before+50 })
}

// TestUpstreamsComeAndGo stops and starts two upstreams in turn under load: failed connects eject the one that is gone,
// or health checks find it, and no client's connection fails.
func TestUpstreamsComeAndGo(t *testing.T) {
	netlab.RequireProgram(t, "iptables-nft", "ip6tables-nft")
	for name, keys := range map[string]string{
		"ejection":      "max_fails = 1\nfail_timeout = \"1s\"\n",
		"health checks": "max_fails = 0\nhealth_check = {interval = \"200ms\", fall = 1, rise = 1}\n",
	} {
		t.Run(name, func(t *testing.T) { testUpstreamsComeAndGo(t, keys) })
	}
}

func testUpstreamsComeAndGo(t *testing.T, keys string) {
	w := newWorld(t)
	upstreams := []*movingUpstream{w.movingUpstream("10.2.0.2:7001", "rest"), w.movingUpstream("[fd00:2::2]:7002", "rest")}
	w.run(prefixes + "[[route]]\nbalance = \"round_robin\"\nupstream = [\"10.2.0.2:7001\", \"[fd00:2::2]:7002\"]\n" + keys)
	var load load
	load.startWorkers(w, load.shortConnections, load.longConnection, load.retriedDatagrams)
	for i := range 6 {
		u := upstreams[i%2]
		u.stop()
		w.awaitUpstream(u.at, false)
		load.goOn(t)
		u.start()
		w.awaitUpstream(u.at, true)
		load.goOn(t)
	}
	if err := load.end(); err != nil {
		t.Error(err)
	}
}

// TestReloadMovesUpstreams has a reload take the load from one upstream to another and back, and stops the one that has
// been left each time.
func TestReloadMovesUpstreams(t *testing.T) {
	netlab.RequireProgram(t, "iptables-nft", "ip6tables-nft")
	w := newWorld(t)
	from, to := w.movingUpstream("10.2.0.2:7001", "rest"), w.movingUpstream("[fd00:2::2]:7002", "rest")
	config := func(u *movingUpstream) string {
		return fmt.Sprintf(prefixes+"[[route]]\nname = \"rest\"\nupstream = [%q]\n", u.at)
	}
	d := w.run(config(from))
	var load load
	load.start(w)
	for range 4 {
		d.reload(config(to))
		w.awaitUpstream(to.at, true)
		from.stop()
		load.goOn(t)
		from.start()
		from, to = to, from
	}
	if err := load.end(); err != nil {
		t.Error(err)
	}
}

// nameZone is a DNS server with one name.
type nameZone struct {
	mu      sync.Mutex // guards the fields below
	records []string
	rcode   int
}

// serveZone serves a name on port 53 of the proxy's loopback interface until the test ends.
func (w *world) serveZone(records ...string) *nameZone {
	w.t.Helper()
	z := &nameZone{records: records}
	var serving sync.WaitGroup
	w.t.Cleanup(serving.Wait)
	servers := []*dns.Server{{PacketConn: listenPacket(w.t, w.Proxy, "127.0.0.1:53"), Handler: z},
		{Listener: listen(w.t, w.Proxy, "127.0.0.1:53"), Handler: z}}
	for _, s := range servers {
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		serving.Go(func() { s.ActivateAndServe() })
		<-started
		w.t.Cleanup(func() { s.Shutdown() })
	}
	return z
}

func (z *nameZone) set(rcode int, records ...string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.rcode, z.records = rcode, records
}

// ServeDNS answers for the names of the records; there are no others.
func (z *nameZone) ServeDNS(w dns.ResponseWriter, query *dns.Msg) {
	z.mu.Lock()
	defer z.mu.Unlock()
	answer := new(dns.Msg).SetRcode(query, dns.RcodeNameError)
	for _, text := range z.records {
		rr, err := dns.NewRR(text)
		if err != nil {
			panic(err)
		}
		if !strings.EqualFold(rr.Header().Name, query.Question[0].Name) {
			continue
		}
		answer.Rcode = dns.RcodeSuccess
		if rr.Header().Rrtype == query.Question[0].Qtype {
			answer.Answer = append(answer.Answer, rr)
		}
	}
	if z.rcode != dns.RcodeSuccess {
		answer = new(dns.Msg).SetRcode(query, z.rcode)
	}
	w.WriteMsg(answer)
}

// runResolving is run with a resolv.conf(5) that no other process sees.
func (w *world) runResolving(config, resolvConf string) *daemon {
	w.t.Helper()
	path := w.file("anyport.toml", config)
	const script = `mount --bind "$0" /etc/resolv.conf && exec "$@"`
	return w.start(w.Proxy.Command("unshare", "--mount", "sh", "-c", script, w.file("resolv.conf", resolvConf),
		binaryPath, "run", "-c", path))
}

// awaitName waits until status tells that of the only name.
func (w *world) awaitName(what string, is func(nameStatus) bool) {
	w.t.Helper()
	waitFor(w.t, what, func() bool { names := w.status().Daemon.Names; return len(names) == 1 && is(names[0]) })
}

// TestUpstreamNameMoves moves the name of an upstream, found by a search domain, to an address of the other family, and
// stops the one before: no client of the load notices. A connection from before is reset where close_on_removal says so,
// and goes on otherwise. Then DNS fails, and everything goes on.
func TestUpstreamNameMoves(t *testing.T) {
	netlab.RequireProgram(t, "iptables-nft", "ip6tables-nft")
	w := newWorld(t)
	before := w.movingUpstream("10.2.0.2:7000", "rest")
	w.movingUpstream("[fd00:2::2]:7000", "rest")
	z := w.serveZone("web.internal.example. 1 IN A 10.2.0.2")
	w.runResolving("resolve_interval_min = \"1s\"\n"+prefixes+`
[[route]]
name = "rest"
upstream = ["web:7000"]
[[route]]
ports = "4000"
upstream = ["web:7000"]
close_on_removal = true
`, "nameserver 127.0.0.1\nsearch internal.example\n")
	cut, err := dial(w.Client, netip.MustParseAddrPort("198.18.1.1:4000"))
	w.must(err)
	defer cut.Close()
	kept, err := dial(w.Client, netip.MustParseAddrPort("[2001:db8::1]:4001"))
	w.must(err)
	defer kept.Close()
	for _, c := range []*net.TCPConn{cut, kept} {
		_, err := io.ReadFull(c, make([]byte, len("rest\n")))
		w.must(err)
	}
	var load load
	load.start(w)
	z.set(dns.RcodeSuccess, "web.internal.example. 2 IN AAAA fd00:2::2")
	w.awaitName("the name to lead to the new address", func(n nameStatus) bool {
		return fmt.Sprint(n.Addresses) == "[fd00:2::2]" && n.TTL == 2 && n.Error == "" && n.Name == "web"
	})
	if _, err := cut.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("with close_on_removal the connection to the old address ended with %v, want %v", err, syscall.ECONNRESET)
	}
	before.stop()
	load.goOn(t)
	z.set(dns.RcodeServerFailure)
	w.awaitName("look-ups to fail", func(n nameStatus) bool { return n.Failures >= 2 && n.Error != "" })
	w.awaitName("the last good address to stay", func(n nameStatus) bool { return fmt.Sprint(n.Addresses) == "[fd00:2::2]" })
	load.goOn(t)
	if err := pingPong(kept, []byte("hello"), make([]byte, 5)); err != nil {
		t.Errorf("without close_on_removal: %v", err)
	}
	if err := load.end(); err != nil {
		t.Error(err)
	}
}
