package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"time"

	"github.com/pires/go-proxyproto"
	"golang.org/x/sync/errgroup"
)

// demoUpstream is the built-in upstream of the embedded default: it answers with the original destination, which it
// learns from the PROXY protocol header that the proxy sends ahead of the data.
type demoUpstream struct {
	web *http.Server
	tcp net.Listener
	udp *net.UDPConn
}

// demoTimeout bounds each step of a demo connection.
const demoTimeout = 10 * time.Second

// listenDemo opens one port on 127.0.0.1 for TCP and UDP alike.
func listenDemo() (*demoUpstream, error) {
	const attempts = 16 // the free TCP port that the kernel picks may be taken for UDP
	var lastErr error
	for range attempts {
		tcp, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("listen for the demo upstream: %w", err)
		}
		at := tcp.Addr().(*net.TCPAddr)
		udp, err := net.ListenUDP("udp4", &net.UDPAddr{IP: at.IP, Port: at.Port})
		if err == nil {
			d := &demoUpstream{tcp: tcp, udp: udp}
			d.web = &http.Server{Handler: http.HandlerFunc(answerHTTP), ReadTimeout: demoTimeout,
				WriteTimeout: demoTimeout, IdleTimeout: demoTimeout}
			return d, nil
		}
		tcp.Close()
		lastErr = err
	}
	return nil, fmt.Errorf("listen for the demo upstream: %w", lastErr)
}

func (d *demoUpstream) addr() netip.AddrPort { return d.tcp.Addr().(*net.TCPAddr).AddrPort() }

// run answers until ctx is done, or one of its servers fails.
func (d *demoUpstream) run(ctx context.Context, logger *slog.Logger) error {
	servers, ctx := errgroup.WithContext(ctx)
	servers.Go(d.serveTCP)
	servers.Go(func() error { return d.serveUDP(logger) })
	servers.Go(func() error { <-ctx.Done(); d.close(); return nil })
	return servers.Wait()
}

// close closes the sockets. A second call does nothing.
func (d *demoUpstream) close() {
	d.web.Close()
	d.tcp.Close()
	d.udp.Close()
}

func (d *demoUpstream) serveTCP() error {
	// The PROXY header gives the connection its client and original destination as RemoteAddr and LocalAddr.
	l := &proxyproto.Listener{Listener: d.tcp, ReadHeaderTimeout: demoTimeout}
	if err := d.web.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the demo over TCP: %w", err)
	}
	return nil
}

func answerHTTP(w http.ResponseWriter, r *http.Request) {
	local := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	fmt.Fprintf(w, "%s reached over TCP from %s\n", local, r.RemoteAddr)
}

func (d *demoUpstream) serveUDP(logger *slog.Logger) error {
	buf := make([]byte, 64<<10)
	for {
		n, from, err := d.udp.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("serve the demo over UDP: %w", err)
		}
		header, err := proxyproto.Read(bufio.NewReader(bytes.NewReader(buf[:n])))
		if err != nil {
			logger.Warn("demo upstream: datagram without a PROXY header", "from", from, "error", err)
			continue
		}
		answer := fmt.Sprintf("%s reached over UDP from %s\n", header.DestinationAddr, header.SourceAddr)
		if _, err := d.udp.WriteToUDPAddrPort([]byte(answer), from); err != nil {
			logger.Warn("demo upstream: answer", "to", from, "error", err)
		}
	}
}

const banner = `anyport serves every port of %s. Try, in another terminal:
  curl http://127.64.1.2:4242/
  (echo hello; sleep 1) | nc -u -w1 127.64.3.4 5353
%s`

const banner6 = `  curl 'http://[fd64::5]:6789/'
`

// printBanner tells three commands to try.
func printBanner(v6 bool) {
	if v6 {
		fmt.Fprintf(os.Stderr, banner, "127.64.0.0/16 and fd64::/64", banner6)
		return
	}
	fmt.Fprintf(os.Stderr, banner, "127.64.0.0/16", "")
}
