package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"anyport/bench/netlab"
	"anyport/proxy/upstream"
	"anyport/steering"
)

// testDaemon is a daemon that runs in this process, in the tests' own namespace.
type testDaemon struct {
	*daemon
	t       *testing.T
	log     lockedLog
	signals chan os.Signal
	done    chan error
	bpffs   string
}

// lockedLog is a log that may be read while it is written.
type lockedLog struct {
	mu   sync.Mutex // guards the field below
	text strings.Builder
}

func (l *lockedLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lockedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

const daemonConfigHead = `prefixes = ["198.18.0.0/20", "2001:db8::/48"]
metrics = "none"
workers = 1
`

// startDaemon runs a daemon with that configuration. The test ends it by stop.
func startDaemon(t *testing.T, config string) *testDaemon {
	t.Helper()
	return startResolving(t, config, upstream.Resolver{})
}

// startResolving is startDaemon with a resolver.
func startResolving(t *testing.T, config string, resolver upstream.Resolver) *testDaemon {
	t.Helper()
	netlab.RequireRoot(t)
	d := &testDaemon{t: t, signals: make(chan os.Signal, 4), done: make(chan error, 1), bpffs: t.TempDir()}
	must(t, unix.Mount("bpf", d.bpffs, "bpf", 0, "mode=0700"))
	t.Cleanup(func() { must(t, unix.Unmount(d.bpffs, 0)) })
	file := filepath.Join(t.TempDir(), "anyport.toml")
	must(t, os.WriteFile(file, []byte(config), 0o600))
	d.daemon = newDaemon(runOptions{file: file, bpffs: d.bpffs, resolver: resolver}, slog.New(slog.NewTextHandler(&d.log, nil)))
	go d.runDaemon()
	return d
}

func (d *testDaemon) runDaemon() { d.done <- d.run(d.signals) }

func (d *testDaemon) waitReady() {
	d.t.Helper()
	netlab.Eventually(d.t, "the daemon is ready", func() bool {
		select {
		case err := <-d.done:
			d.t.Fatalf("the daemon ended: %v\n%s", err, &d.log)
		default:
		}
		return d.generation() != nil
	})
}

// wantEnd waits for the daemon's end, which must be a good one that leaves nothing behind.
func (d *testDaemon) wantEnd() {
	d.t.Helper()
	select {
	case err := <-d.done:
		must(d.t, err)
	case <-time.After(netlab.Patience):
		d.t.Fatalf("the daemon does not end:\n%s", &d.log)
	}
	if s, err := steering.Open(steering.Options{Bpffs: d.bpffs}); !errors.Is(err, steering.ErrNotLoaded) {
		d.t.Errorf("steering is left: %v, %v", s, err)
	}
	if missing := d.missingRoutes(); len(missing) != 2 {
		d.t.Errorf("local routes are left; missing are %v", missing)
	}
}

// missingRoutes returns which of the usual prefixes are not local.
func (d *testDaemon) missingRoutes() []netip.Prefix {
	d.t.Helper()
	local, err := steering.OpenLocalRoutes(steering.LocalRouteOptions{})
	must(d.t, err)
	defer local.Close()
	missing, err := local.Missing([]netip.Prefix{netip.MustParsePrefix("198.18.0.0/20"),
		netip.MustParsePrefix("2001:db8::/48")})
	must(d.t, err)
	return missing
}

// reloadFile writes a configuration, sends SIGHUP and waits until the log says the word.
func (d *testDaemon) reloadFile(config, word string) {
	d.t.Helper()
	must(d.t, os.WriteFile(d.opts.file, []byte(config), 0o600))
	d.signals <- unix.SIGHUP
	netlab.Eventually(d.t, "the log says "+word, func() bool { return strings.Contains(d.log.String(), word) })
}

// nameServer is a TCP upstream that sends its name and closes. It returns its address.
func nameServer(t *testing.T, name string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	var running sync.WaitGroup
	running.Go(func() { sendNames(l, name) })
	t.Cleanup(func() { l.Close(); running.Wait() })
	return l.Addr().String()
}

func sendNames(l net.Listener, name string) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		_, _ = io.WriteString(c, name)
		c.Close()
	}
}

func wantName(t *testing.T, want string) {
	t.Helper()
	for _, dst := range []string{"198.18.0.1:4242", "[2001:db8::1]:4242"} {
		c, err := net.DialTimeout("tcp", dst, netlab.Patience)
		must(t, err)
		must(t, c.SetDeadline(time.Now().Add(netlab.Patience)))
		got, err := io.ReadAll(c)
		c.Close()
		if err != nil || string(got) != want {
			t.Errorf("%s answered %q, %v, want %q", dst, got, err, want)
		}
	}
}

// A reload whose last step fails, when the rules are in force already, goes back to the configuration before.
func TestReloadGoesBack(t *testing.T) {
	route := "[[route]]\nupstream = [\"" + nameServer(t, "old") + "\"]\n"
	d := startDaemon(t, daemonConfigHead+route)
	d.waitReady()
	old := d.generation()
	// No local route may hold the source that the host's own clients are to have, 127.0.0.1.
	bad := strings.Replace(daemonConfigHead, `"198.18.0.0/20"`, `"127.0.0.0/30"`, 1) + "allow_on_link = true\n"
	d.reloadFile(bad+"[[route]]\nupstream = [\"127.0.0.9:7\"]\n", "reload failed")
	if d.generation() != old {
		t.Error("the configuration that failed is in force")
	}
	if missing := d.missingRoutes(); len(missing) > 0 {
		t.Errorf("local routes are missing: %v", missing)
	}
	wantName(t, "old")
	if strings.Contains(d.log.String(), "go back") {
		t.Errorf("going back failed:\n%s", &d.log)
	}
	fresh := "[[route]]\nupstream = [\"" + nameServer(t, "fresh") + "\"]\n"
	d.reloadFile(strings.Replace(daemonConfigHead, "workers = 1", "workers = 2", 1)+fresh, "msg=reloaded")
	wantName(t, "fresh")
	if log := d.log.String(); !strings.Contains(log, "key=workers") {
		t.Errorf("the log does not tell of workers:\n%s", log)
	}
	d.signals <- unix.SIGTERM
	d.wantEnd()
}

// silentDNS returns a resolver whose every look-up waits until its context ends, and how to wait for the first of them.
func silentDNS() (silent upstream.Resolver, asked <-chan struct{}) {
	first, once := make(chan struct{}), sync.Once{}
	silent.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
		once.Do(func() { close(first) })
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return silent, first
}

// A signal that comes while the daemon waits for DNS, before it is ready, ends it at once and well. A local route that
// a daemon before it left goes with it.
func TestSignalWhileStarting(t *testing.T) {
	netlab.RequireRoot(t)
	left, err := steering.OpenLocalRoutes(steering.LocalRouteOptions{})
	must(t, err)
	defer left.Close()
	must(t, left.Sync([]netip.Prefix{netip.MustParsePrefix("198.18.0.0/20")}))
	silent, asked := silentDNS()
	d := startResolving(t, daemonConfigHead+"[[route]]\nupstream = [\"slow.test:80\"]\n", silent)
	<-asked
	d.signals <- unix.SIGTERM
	d.wantEnd()
	if d.generation() != nil {
		t.Error("the daemon got ready after all")
	}
}

// A prefix that a daemon before it left local, and that this one does not serve, is not local any more once it runs.
func TestStartWithdrawsOldPrefixes(t *testing.T) {
	netlab.RequireRoot(t)
	old := []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("2001:db8:ffff::/48")}
	left, err := steering.OpenLocalRoutes(steering.LocalRouteOptions{})
	must(t, err)
	defer left.Close()
	must(t, left.Sync(old))
	d := startDaemon(t, daemonConfigHead+"[[route]]\nupstream = [\"127.0.0.1:7\"]\n")
	d.waitReady()
	missing, err := left.Missing(old)
	must(t, err)
	if !slices.Equal(missing, old) {
		t.Errorf("of %v only %v are not local any more", old, missing)
	}
	d.signals <- unix.SIGTERM
	d.wantEnd()
}
