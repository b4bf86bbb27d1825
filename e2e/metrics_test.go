package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

// TestMetrics makes a known amount of traffic and finds it in /metrics, which promlint must have no complaint about.
func TestMetrics(t *testing.T) {
	w := newWorld(t)
	w.upstreams(7000, echo)
	w.run(prefixes + "[[route]]\nname = \"web\"\nports = \"80\"\nupstream = [\"10.2.0.2:7000\"]\n")
	for _, f := range families {
		for range 3 {
			if err := tryEcho(w.Client, withPort(f.address(w.rng), 80), "", make([]byte, 1000)); err != nil {
				t.Error(err)
			}
		}
		c, err := packetConn(w.Client)
		w.must(err)
		defer c.Close()
		for range 5 {
			if err := tryPacket(c, withPort(f.prefix.Addr().Next(), 80), make([]byte, 100)); err != nil {
				t.Error(err)
			}
		}
		if err := refusal(w.Client, "tcp", withPort(f.address(w.rng), 81)); !isRefused(err) {
			t.Errorf("dial an unclaimed port: %v", err)
		}
	}
	want := []string{
		`anyport_connections_total{protocol="tcp",route="web"} 6`,
		`anyport_connections_total{protocol="udp",route="web"} 2`,
		`anyport_connections_active{protocol="tcp",route="web"} 0`,
		`anyport_connections_active{protocol="udp",route="web"} 2`,
		`anyport_connections_ended_total{protocol="tcp",reason="done",route="web"} 6`,
		`anyport_payload_bytes_total{direction="in",protocol="tcp",route="web"} 6000`,
		`anyport_payload_bytes_total{direction="out",protocol="tcp",route="web"} 6000`,
		`anyport_payload_bytes_total{direction="in",protocol="udp",route="web"} 1000`,
		`anyport_payload_bytes_total{direction="out",protocol="udp",route="web"} 1000`,
		`anyport_udp_datagrams_total{direction="in",route="web"} 10`,
		`anyport_udp_datagrams_total{direction="out",route="web"} 10`,
	}
	// A connection is counted as ended a moment after its client has seen the end.
	waitFor(t, "no connection to be open", func() bool { return strings.Contains(w.metrics("/metrics"), want[2]+"\n") })
	text := w.metrics("/metrics")
	for _, line := range want {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("/metrics lacks %s", line)
		}
	}
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v %v", problems, err)
	}
	if t.Failed() {
		t.Log(ownMetrics(text))
	}
	for path, want := range map[string]string{"/healthz": "ok\n", "/readyz": "ready\n"} {
		if got := w.metrics(path); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
}

// metrics fetches a path from the metrics listener, whose default is on the proxy's loopback.
func (w *world) metrics(path string) string {
	w.t.Helper()
	var body []byte
	err := w.Proxy.Do(func() error {
		conn, err := net.Dial("tcp", "127.0.0.1:9464")
		if err != nil {
			return err
		}
		client := http.Client{Timeout: deadline, Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext:       func(context.Context, string, string) (net.Conn, error) { return conn, nil },
		}}
		r, err := client.Get("http://127.0.0.1:9464" + path)
		if err != nil {
			return err
		}
		defer r.Body.Close()
		body, err = io.ReadAll(r.Body)
		return err
	})
	w.must(err)
	return string(body)
}

// ownMetrics leaves out Go's metrics and the comments.
func ownMetrics(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "anyport_") {
			fmt.Fprint(&b, line)
		}
	}
	return b.String()
}
