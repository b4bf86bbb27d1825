package proxy

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"anyport/bench/netlab"
	"anyport/conf"
	"anyport/conf/rule"
	"anyport/proxy/upstream"
	"anyport/steering"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// rig is a server in the tests' own namespace. Nothing steers to it: its routes claim the loopback address that its
// sockets are bound to, so that dialling the listener is dialling the prefix.
type rig struct {
	*Server
	t   *testing.T
	log strings.Builder
	ran chan error

	steering *steering.Steering // that steers to it; nil: none

	mu        sync.Mutex // guards the fields below
	zone      map[string][]netip.Addr
	published func(*rule.Table) error // called for every table that the kernel would get
}

// home heads the configurations of a rig.
const home = `prefixes = ["127.0.0.1/32", "198.18.0.0/20", "2001:db8::/48"]
allow_on_link = true
metrics = "none"
workers = 1
`

func parse(t *testing.T, text string) *conf.Config {
	t.Helper()
	cfg, err := conf.Parse("test.toml", []byte(text), nil)
	must(t, err)
	return cfg
}

func newRig(t *testing.T, text string) *rig {
	t.Helper()
	netlab.RequireRoot(t)
	r := &rig{t: t, zone: make(map[string][]netip.Addr)}
	var err error
	r.Server, err = New(parse(t, text), Options{Publish: r.onPublish, Lookup: r.onLookup,
		Logger: slog.New(slog.NewTextHandler(&r.log, nil))})
	must(t, err)
	t.Cleanup(func() { must(t, r.Close()) })
	return r
}

func (r *rig) onPublish(table *rule.Table) error {
	r.mu.Lock()
	published := r.published
	r.mu.Unlock()
	if published == nil {
		return nil
	}
	return published(table)
}

var errNoSuchName = errors.New("no such name")

func (r *rig) onLookup(_ context.Context, host string) (upstream.Answer, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if addrs := r.zone[host]; addrs != nil {
		return upstream.Answer{Addrs: addrs}, nil
	}
	return upstream.Answer{}, errNoSuchName
}

// refreshAll is refresh with all names, as if they were due.
func (r *rig) refreshAll() error { return r.refresh(r.t.Context(), upstream.NamesOf(r.current.groups)) }

// name makes host resolve to addrs, or to nothing.
func (r *rig) name(host string, addrs ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.zone[host] = nil
	for _, a := range addrs {
		r.zone[host] = append(r.zone[host], netip.MustParseAddr(a))
	}
}

// whenPublished has f called for every table from now on.
func (r *rig) whenPublished(f func(*rule.Table) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.published = f
}

// put prepares and applies a configuration.
func (r *rig) put(text string) error {
	r.t.Helper()
	g, err := r.Prepare(r.t.Context(), parse(r.t, text))
	must(r.t, err)
	return r.Apply(g)
}

// run runs the server until the test ends.
func (r *rig) run(ctx context.Context) {
	r.ran = make(chan error, 1)
	go r.runServer(ctx)
}

func (r *rig) runServer(ctx context.Context) { r.ran <- r.Run(ctx) }

// wantReturned waits for Run, which must return nil.
func (r *rig) wantReturned() {
	r.t.Helper()
	select {
	case err := <-r.ran:
		must(r.t, err)
	case <-time.After(netlab.Patience):
		r.t.Fatal("Run does not return")
	}
}

// address returns where the listener is bound.
func (r *rig) address() netip.AddrPort {
	r.t.Helper()
	return localAddress(r.t, r.listener.FD())
}

// localAddress returns where a socket is bound.
func localAddress(t *testing.T, fd int) netip.AddrPort {
	t.Helper()
	sa, err := unix.Getsockname(fd)
	must(t, err)
	in6 := sa.(*unix.SockaddrInet6)
	return netip.AddrPortFrom(netip.AddrFrom16(in6.Addr).Unmap(), uint16(in6.Port))
}

// dial opens a connection through the server until the test ends.
func (r *rig) dial() net.Conn {
	r.t.Helper()
	c, err := net.Dial("tcp", r.address().String())
	must(r.t, err)
	r.t.Cleanup(func() { c.Close() })
	must(r.t, c.SetDeadline(time.Now().Add(netlab.Patience)))
	return c
}

// greeter is a TCP upstream that sends its name and then echoes. It returns its address.
func greeter(t *testing.T, address, name string) string {
	t.Helper()
	l, err := net.Listen("tcp", address)
	must(t, err)
	var connections sync.WaitGroup
	connections.Go(func() { greetAll(l, name, &connections) })
	t.Cleanup(func() { l.Close(); connections.Wait() })
	return l.Addr().String()
}

func greetAll(l net.Listener, name string, connections *sync.WaitGroup) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		connections.Go(func() { greet(c, name) })
	}
}

func greet(c net.Conn, name string) {
	defer c.Close()
	if _, err := io.WriteString(c, name); err == nil {
		_, _ = io.Copy(c, c)
	}
}

// wantGreeting reads a greeter's name.
func wantGreeting(t *testing.T, c net.Conn, name string) {
	t.Helper()
	got := make([]byte, len(name))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != name {
		t.Fatalf("read %q, %v, want the greeting of %q", got, err, name)
	}
}

// wantEcho sends a line and reads it back.
func wantEcho(t *testing.T, c net.Conn) {
	t.Helper()
	_, err := io.WriteString(c, "hello")
	must(t, err)
	wantGreeting(t, c, "hello")
}

// wantReset reads until the connection ends, which must be by RST.
func wantReset(t *testing.T, c net.Conn) {
	t.Helper()
	if _, err := io.Copy(io.Discard, c); !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("the connection ended with %v, want %v", err, unix.ECONNRESET)
	}
}
