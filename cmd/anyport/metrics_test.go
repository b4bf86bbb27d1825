package main

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"anyport/bench/netlab"
)

// get asks a metrics server and returns status and body.
func get(t *testing.T, url string) (int, string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: netlab.Patience}
	r, err := client.Get(url)
	must(t, err)
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	must(t, err)
	return r.StatusCode, string(body)
}

// freeAddr returns an address of the loopback interface that nobody listens on.
func freeAddr(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).AddrPort()
}

func TestMetricsServer(t *testing.T) {
	addr := freeAddr(t)
	m, err := listenMetrics(addr, slog.New(slog.DiscardHandler))
	must(t, err)
	defer m.close()
	m.collect(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "test_gauge"}, func() float64 { return 42 }))
	base := "http://" + addr.String()
	want := func(when, path string, status int, text string) {
		t.Helper()
		if got, body := get(t, base+path); got != status || !strings.Contains(body, text) {
			t.Errorf("%s: GET %s: %d %q, want %d with %q", when, path, got, body, status, text)
		}
	}
	want("starting", "/readyz", http.StatusServiceUnavailable, "not ready")
	want("starting", "/healthz", http.StatusOK, "ok")
	m.setReady(true)
	want("ready", "/readyz", http.StatusOK, "ready")
	want("ready", "/metrics", http.StatusOK, "test_gauge 42")
	m.check = func() error { return errors.New("something is missing") }
	want("not loaded", "/readyz", http.StatusServiceUnavailable, "something is missing")
	m.setReady(false)
	want("draining", "/readyz", http.StatusServiceUnavailable, "not ready")
	want("draining", "/healthz", http.StatusOK, "ok")
}

// Without a metrics listener there is nothing to do, and one that cannot be had comes with advice.
func TestNoMetricsServer(t *testing.T) {
	var m *metricsServer
	m.collect(nil)
	m.setReady(true)
	m.close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	if _, err := listenMetrics(l.Addr().(*net.TCPAddr).AddrPort(), nil); err == nil || hintFor(err) == "" {
		t.Errorf("on an address in use: %v, want an error with a hint", err)
	}
}

// close waits for an answer under way, which may be made from what is closed next.
func TestWebServerCloseWaits(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	asked, answer, answered := make(chan struct{}), make(chan struct{}), make(chan string, 1)
	w := serveWeb(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(asked)
		<-answer
		io.WriteString(w, "whole")
	}), slog.New(slog.DiscardHandler))
	go func() { _, body := get(t, "http://"+l.Addr().String()); answered <- body }()
	<-asked
	closed := make(chan struct{})
	go func() { w.close(); close(closed) }()
	netlab.Eventually(t, "the listener is closed", func() bool {
		c, err := net.Dial("tcp", l.Addr().String())
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	select {
	case <-closed:
		t.Error("close returned before the answer")
	default:
	}
	close(answer)
	<-closed
	if got := <-answered; got != "whole" {
		t.Errorf("the answer was %q", got)
	}
}
