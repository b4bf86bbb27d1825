package upstream

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"anyport/bench/netlab"
	"anyport/conf"
)

// answering is a TCP and UDP server that sends answer after a question; for "" it says nothing.
func answering(t *testing.T, host, answer string) (tcp, udp netip.AddrPort) {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		netlab.Missing(t, "the address "+host)
	}
	p, err := net.ListenPacket("udp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() { answerStreams(l, answer, &serving) })
	serving.Go(func() { answerDatagrams(p, answer) })
	t.Cleanup(func() { l.Close(); p.Close(); serving.Wait() })
	return l.Addr().(*net.TCPAddr).AddrPort(), p.LocalAddr().(*net.UDPAddr).AddrPort()
}

func answerStreams(l net.Listener, answer string, serving *sync.WaitGroup) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		serving.Go(func() {
			defer c.Close()
			for i := range len(answer) { // in pieces
				io.WriteString(c, answer[i:i+1])
			}
			io.Copy(io.Discard, c)
		})
	}
}

func answerDatagrams(p net.PacketConn, answer string) {
	buf := make([]byte, 1500)
	for {
		n, from, err := p.ReadFrom(buf)
		if err != nil {
			return
		}
		if answer != "" && string(buf[:n]) == "question" {
			p.WriteTo([]byte(answer), from)
		}
	}
}

func TestProbe(t *testing.T) {
	for _, host := range []string{"127.0.0.1", "::1"} {
		tcp, udp := answering(t, host, "SSH-2.0-x")
		muteTCP, muteUDP := answering(t, host, "")
		closed := netip.AddrPortFrom(tcp.Addr(), 1)
		for _, c := range []struct {
			name         string
			kind         conf.CheckType
			target       netip.AddrPort
			send, expect string
			want         error
		}{
			{"connect", conf.TCPCheck, muteTCP, "", "", nil},
			{"send", conf.TCPCheck, muteTCP, "question", "", nil},
			{"refused", conf.TCPCheck, closed, "", "", syscall.ECONNREFUSED},
			{"answer", conf.TCPCheck, tcp, "", "2.0", nil},
			{"other answer", conf.TCPCheck, tcp, "", "1.5", errNotExpected},
			{"no answer", conf.TCPCheck, muteTCP, "", "2.0", os.ErrDeadlineExceeded},
			{"datagram", conf.UDPCheck, udp, "question", "SSH-", nil},
			{"any datagram", conf.UDPCheck, udp, "question", "", nil},
			{"other datagram", conf.UDPCheck, udp, "question", "x-SSH", errNotExpected},
			{"no datagram", conf.UDPCheck, muteUDP, "question", "", os.ErrDeadlineExceeded},
			{"no port", conf.UDPCheck, closed, "question", "", syscall.ECONNREFUSED},
		} {
			limit := 10 * time.Second
			if c.want == os.ErrDeadlineExceeded || c.want == errNotExpected {
				limit = 200 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			key := checkKey{HealthCheck: conf.HealthCheck{Type: c.kind, Send: c.send, Expect: c.expect}, target: c.target}
			if err := probe(ctx, key); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
				t.Errorf("%s, %s: %v, want %v", host, c.name, err, c.want)
			}
			cancel()
		}
	}
}

// A check leaves from the source that it is given.
func TestProbeSource(t *testing.T) {
	p, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	key := checkKey{HealthCheck: conf.HealthCheck{Type: conf.UDPCheck, Send: "question"},
		target: p.LocalAddr().(*net.UDPAddr).AddrPort(), source: netip.MustParseAddr("127.3.2.1")}
	go func() { done <- probe(ctx, key) }()
	_, from, err := p.ReadFrom(make([]byte, 100))
	if err != nil || !strings.HasPrefix(from.String(), "127.3.2.1:") {
		t.Errorf("the check comes from %v, %v, want 127.3.2.1", from, err)
	}
	cancel()
	if err := <-done; err == nil {
		t.Error("a check that was called off succeeds")
	}
}
