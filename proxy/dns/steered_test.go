package dns

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"

	"anyport/bench/netlab"
	"anyport/conf/rule"
	"anyport/steering"
)

// steered is a lab in which port 53 of both prefixes is steered to a server's sockets.
type steered struct{ *netlab.Trio }

const servicePort = 53

// steer makes the lab. open opens the server's sockets; it is called in their namespace, before anything is steered.
func steer(t *testing.T, open func() (udp, tcp syscall.Conn)) *steered {
	t.Helper()
	w := &steered{netlab.NewTrio(t)}
	set := rule.Set{Rules: []rule.Rule{{
		Name: "dns", Ports: []rule.PortRange{{First: servicePort, Last: servicePort}}, Verdict: rule.Steer,
		Fallback: rule.NoService,
	}}}
	for _, p := range []netip.Prefix{netlab.Prefix4, netlab.Prefix6} {
		set.Prefixes = append(set.Prefixes, rule.Prefix{Prefix: p})
		must(t, w.Proxy.AddLocalRoute(p))
	}
	table, err := rule.Compile(set)
	must(t, err)
	var udp, tcp syscall.Conn
	must(t, w.Proxy.Do(func() error {
		udp, tcp = open()
		return nil
	}))
	s, err := steering.Load(steering.Options{Netns: w.Proxy.Path(), Bpffs: newBpffs(t)})
	must(t, err)
	t.Cleanup(func() {
		must(t, s.Unload())
		must(t, s.Close())
	})
	_, err = s.Publish(table)
	must(t, err)
	must(t, s.Assign(0, rule.UDP, udp))
	must(t, s.Assign(0, rule.TCP, tcp))
	return w
}

// ownServer starts a Server at DefaultHome.
func ownServer(t *testing.T) *Server { return start(t, Options{Home: DefaultHome}) }

func newBpffs(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "anyport-dns-bpffs-")
	must(t, err)
	must(t, unix.Mount("bpf", dir, "bpf", 0, ""))
	t.Cleanup(func() {
		must(t, unix.Unmount(dir, 0))
		must(t, os.Remove(dir))
	})
	return dir
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// nth returns the address number i of a prefix.
func nth(p netip.Prefix, i int) netip.Addr {
	a := p.Masked().Addr().As16()
	binary.BigEndian.PutUint32(a[12:], binary.BigEndian.Uint32(a[12:])+uint32(i))
	return netip.AddrFrom16(a).Unmap()
}

// askAll asks n addresses of a prefix over UDP and checks that every reply comes from the address that was asked.
func (w *steered) askAll(t *testing.T, p netip.Prefix, n int) {
	t.Helper()
	var conn *net.UDPConn
	must(t, w.Client.Do(func() (err error) {
		conn, err = net.ListenUDP("udp", nil)
		return err
	}))
	defer conn.Close()
	const window = 32
	asked := map[uint16]netip.AddrPort{}
	for i := 0; i < n || len(asked) > 0; {
		for ; i < n && len(asked) < window; i++ {
			q := question("www.example.test.", dns.TypeA)
			q.Id = uint16(i)
			packet, err := q.Pack()
			must(t, err)
			asked[q.Id] = netip.AddrPortFrom(nth(p, i), servicePort)
			_, err = conn.WriteToUDPAddrPort(packet, asked[q.Id])
			must(t, err)
		}
		takeReply(t, conn, asked)
	}
}

func takeReply(t *testing.T, conn *net.UDPConn, asked map[uint16]netip.AddrPort) {
	t.Helper()
	must(t, conn.SetReadDeadline(time.Now().Add(10*time.Second)))
	buf := make([]byte, 4096)
	n, from, err := conn.ReadFromUDPAddrPort(buf)
	must(t, err)
	m := new(dns.Msg)
	must(t, m.Unpack(buf[:n]))
	from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
	if asked[m.Id] != from {
		t.Errorf("asked %s, %s replied", asked[m.Id], from)
	}
	if len(m.Answer) != 1 {
		t.Errorf("%s replied %v", from, m)
	}
	delete(asked, m.Id)
}

// askTCP asks some addresses over TCP.
func (w *steered) askTCP(t *testing.T, p netip.Prefix, n int) {
	t.Helper()
	for i := range n {
		to := netip.AddrPortFrom(nth(p, i*31), servicePort)
		var conn net.Conn
		must(t, w.Client.Do(func() (err error) {
			conn, err = (&net.Dialer{Timeout: 10 * time.Second}).DialContext(context.Background(), "tcp", to.String())
			return err
		}))
		c := &dns.Conn{Conn: conn}
		must(t, c.SetDeadline(time.Now().Add(10*time.Second)))
		must(t, c.WriteMsg(question("big.example.test.", dns.TypeTXT)))
		m, err := c.ReadMsg()
		must(t, err)
		if len(m.Answer) != 100 {
			t.Errorf("%s replied %v", to, m)
		}
		must(t, c.Close())
	}
}

// Every reply leaves from the address that was asked, over the whole of both prefixes, through one socket each.
func TestSteeredPrefix(t *testing.T) {
	w := steer(t, func() (udp, tcp syscall.Conn) {
		s := ownServer(t)
		if s.port != servicePort {
			t.Fatalf("the UDP socket has port %d", s.port)
		}
		return s.UDP(), s.TCP()
	})
	const whole = 4096 // of the /20; of the IPv6 prefix, as many
	w.askAll(t, netlab.Prefix4, whole)
	w.askAll(t, netlab.Prefix6, whole)
	w.askTCP(t, netlab.Prefix4, 20)
	w.askTCP(t, netlab.Prefix6, 20)
}

// A daemon that holds the port on all addresses is no obstacle.
func TestSteeredBesideDaemon(t *testing.T) {
	w := steer(t, func() (udp, tcp syscall.Conn) {
		must(t, occupy(t, fmt.Sprintf(":%d", servicePort)))
		s := ownServer(t)
		if s.port == servicePort {
			t.Fatal("the UDP socket has the daemon's port")
		}
		return s.UDP(), s.TCP()
	})
	w.askAll(t, netlab.Prefix4, 300)
	w.askAll(t, netlab.Prefix6, 300)
	w.askTCP(t, netlab.Prefix4, 5)
	w.askTCP(t, netlab.Prefix6, 5)
}

// The server of miekg/dns answers as rightly on a PacketConn and a listener from here.
func TestSteeredLibrary(t *testing.T) {
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		n := 1
		if q.Question[0].Qtype == dns.TypeTXT {
			n = 100
		}
		h := dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeTXT, Class: dns.ClassINET}
		for range n {
			m.Answer = append(m.Answer, &dns.TXT{Hdr: h})
		}
		_ = w.WriteMsg(m)
	})
	w := steer(t, func() (udp, tcp syscall.Conn) {
		conn, err := ListenPacket(DefaultHome)
		must(t, err)
		listener, err := ListenTCP(DefaultHome)
		must(t, err)
		serve(t, &dns.Server{PacketConn: conn, Handler: handler})
		serve(t, &dns.Server{Listener: listener, Handler: handler})
		return conn, listener
	})
	w.askAll(t, netlab.Prefix4, 1000)
	w.askAll(t, netlab.Prefix6, 1000)
	w.askTCP(t, netlab.Prefix4, 5)
	w.askTCP(t, netlab.Prefix6, 5)
}

// serve runs a server of miekg/dns until the test ends.
func serve(t *testing.T, s *dns.Server) {
	started, ended := make(chan struct{}), make(chan error, 1)
	s.NotifyStartedFunc = func() { close(started) }
	go func() { ended <- s.ActivateAndServe() }()
	<-started
	t.Cleanup(func() {
		must(t, s.Shutdown())
		must(t, <-ended)
	})
}

// occupy binds TCP and UDP sockets to an address until the test ends.
func occupy(t *testing.T, address string) error {
	c, err := net.ListenPacket("udp", address)
	if err != nil {
		return err
	}
	t.Cleanup(func() { c.Close() })
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	t.Cleanup(func() { l.Close() })
	return nil
}
