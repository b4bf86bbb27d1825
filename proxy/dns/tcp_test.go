package dns

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"anyport/bench/netlab"
)

// patience is far more than anything here takes; it only ends a test that would hang.
const patience = 20 * time.Second

func dial(t testing.TB, address string) net.Conn {
	t.Helper()
	c, err := net.DialTimeout("tcp", address, patience)
	must(t, err)
	must(t, c.SetDeadline(time.Now().Add(patience)))
	t.Cleanup(func() { c.Close() })
	return c
}

// framed returns a message with its length in front.
func framed(t testing.TB, m *dns.Msg) []byte {
	t.Helper()
	b, err := m.Pack()
	must(t, err)
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)
}

// RFC 7766 section 6.2.1.1: queries may follow one another without waiting, and arrive in any pieces.
func TestPipelining(t *testing.T) {
	s := start(t, Options{})
	const queries = 300
	var stream []byte
	for i := range queries {
		q := question("big.example.test.", dns.TypeTXT)
		if i%3 > 0 {
			q = question("www.example.test.", dns.TypeA)
		}
		q.Id = uint16(i)
		stream = append(stream, framed(t, q)...)
	}
	for _, piece := range []int{1, 7, 1000, len(stream)} {
		c := &dns.Conn{Conn: dial(t, s.tcpAddress())}
		sent := make(chan error, 1)
		go func() { sent <- sendPieces(c.Conn, stream, piece) }()
		for i := range queries {
			m, err := c.ReadMsg()
			if err != nil {
				t.Fatalf("pieces of %d, response %d: %v", piece, i, err)
			}
			want := 100
			if i%3 > 0 {
				want = 1
			}
			if m.Id != uint16(i) || len(m.Answer) != want {
				t.Fatalf("pieces of %d, response %d: ID %d, %d records", piece, i, m.Id, len(m.Answer))
			}
		}
		must(t, <-sent)
	}
}

func sendPieces(c net.Conn, b []byte, size int) error {
	for len(b) > 0 {
		n := min(size, len(b))
		if _, err := c.Write(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// A query may be as long as the length field can say.
func TestLongQuery(t *testing.T) {
	s := start(t, Options{})
	q := question("www.example.test.", dns.TypeA)
	q.SetEdns0(4096, false)
	q.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_PADDING{Padding: make([]byte, 60000)}}
	if m := exchange(t, "tcp", s.tcpAddress(), q); len(m.Answer) != 1 {
		t.Errorf("%v", m)
	}
}

// A client that asks all and then closes its side gets all answers.
func TestHalfClose(t *testing.T) {
	s := start(t, Options{})
	c := dial(t, s.tcpAddress())
	query := framed(t, question("www.example.test.", dns.TypeA))
	_, err := c.Write(append(query, query...))
	must(t, err)
	must(t, c.(*net.TCPConn).CloseWrite())
	all, err := io.ReadAll(c)
	must(t, err)
	first := 2 + int(binary.BigEndian.Uint16(all))
	if len(all) != 2*first {
		t.Errorf("%d bytes, the first response has %d", len(all), first)
	}
}

// A connection that does not ask is closed, and so is one that asks too slowly; one that goes on asking is not.
func TestIdleTimeout(t *testing.T) {
	s := start(t, Options{TCPIdle: 300 * time.Millisecond})
	silent, slow := dial(t, s.tcpAddress()), dial(t, s.tcpAddress())
	query := framed(t, question("www.example.test.", dns.TypeA))
	dripping := make(chan error, 1)
	go func() {
		for { // one byte at a time, each well before the timeout
			if _, err := slow.Write(query[:1]); err != nil {
				dripping <- err
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	}()
	for name, c := range map[string]net.Conn{"silent": silent, "slow": slow} {
		if _, err := io.ReadAll(c); errors.Is(err, net.ErrClosed) || isTimeout(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	slow.Close()
	<-dripping
}

func isTimeout(err error) bool {
	var e net.Error
	return errors.As(err, &e) && e.Timeout()
}

// What is no query ends the connection.
func TestNoQueryOverTCP(t *testing.T) {
	s := start(t, Options{})
	for _, message := range [][]byte{{0, 0}, {0, 4, 1, 2, 3, 4}, append([]byte{0, 12, 0, 1, 0x80}, make([]byte, 9)...)} {
		c := dial(t, s.tcpAddress())
		_, err := c.Write(message)
		must(t, err)
		if got, err := io.ReadAll(c); len(got) != 0 || isTimeout(err) {
			t.Errorf("%x: got %x, %v", message, got, err)
		}
	}
}

// Past the limit connections are closed; once one of the others ends, there is room again.
func TestConnectionLimit(t *testing.T) {
	s := start(t, Options{MaxTCP: 3, MaxClient: 3})
	var open []net.Conn
	for range 3 {
		c := dial(t, s.tcpAddress())
		_, err := c.Write(framed(t, question("www.example.test.", dns.TypeA)))
		must(t, err)
		_, err = (&dns.Conn{Conn: c}).ReadMsg()
		must(t, err)
		open = append(open, c)
	}
	if refused, err := net.Dial("tcp", s.tcpAddress()); err == nil { // else it was reset at once
		must(t, refused.SetDeadline(time.Now().Add(patience)))
		if _, err := io.ReadAll(refused); isTimeout(err) {
			t.Error("a connection past the limit is kept")
		}
		refused.Close()
	}
	open[0].Close()
	netlab.Eventually(t, "room for another connection", func() bool {
		c := &dns.Client{Net: "tcp", Timeout: patience}
		m, _, err := c.Exchange(question("www.example.test.", dns.TypeA), s.tcpAddress())
		return err == nil && len(m.Answer) == 1
	})
	if n := s.Snapshot(); n.TCPRefused == 0 || n.TCPOpen > 3 {
		t.Errorf("%d refused, %d open", n.TCPRefused, n.TCPOpen)
	}
}

// One client cannot take the places of others.
func TestClientLimit(t *testing.T) {
	s := start(t, Options{MaxTCP: 100, MaxClient: 2})
	from := func(client string) (*dns.Conn, error) {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(client)}, Timeout: patience}
		c, err := d.Dial("tcp", s.tcpAddress())
		if err != nil { // the server may reset a connection before connect has returned
			return nil, err
		}
		must(t, c.SetDeadline(time.Now().Add(patience)))
		t.Cleanup(func() { c.Close() })
		conn := &dns.Conn{Conn: c}
		if err := conn.WriteMsg(question("www.example.test.", dns.TypeA)); err != nil {
			return conn, err
		}
		_, err = conn.ReadMsg()
		return conn, err
	}
	first, err := from("127.0.0.10")
	must(t, err)
	_, err = from("127.0.0.10")
	must(t, err)
	if _, err := from("127.0.0.10"); err == nil || isTimeout(err) {
		t.Errorf("the third connection of one client: %v", err)
	}
	_, err = from("127.0.0.11")
	must(t, err)
	if n := s.Snapshot(); n.TCPRefused != 1 || n.TCPOpen != 3 {
		t.Errorf("%d refused, %d open", n.TCPRefused, n.TCPOpen)
	}
	must(t, first.Close())
	netlab.Eventually(t, "room for the client", func() bool {
		_, err := from("127.0.0.10")
		return err == nil
	})
}

// Running out of descriptors delays a connection, and ends nothing.
func TestAcceptSurvivesExhaustion(t *testing.T) {
	s := start(t, Options{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	failures := 3
	accept := func() (*net.TCPConn, error) {
		if failures > 0 {
			failures--
			return nil, fmt.Errorf("accept: %w", syscall.EMFILE)
		}
		return l.(*net.TCPListener).AcceptTCP()
	}
	ended := make(chan error, 1)
	go func() { ended <- s.acceptTCP(accept) }()
	if m := exchange(t, "tcp", l.Addr().String(), question("www.example.test.", dns.TypeA)); len(m.Answer) != 1 {
		t.Errorf("%v", m)
	}
	must(t, l.Close())
	must(t, <-ended)
}
