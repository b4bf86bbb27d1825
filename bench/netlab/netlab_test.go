package netlab

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestTrioCarriesTraffic sends a line both ways over each link and family, and to both prefixes.
func TestTrioCarriesTraffic(t *testing.T) {
	lab := NewTrio(t)
	for _, p := range []netip.Prefix{Prefix4, Prefix6} {
		if err := lab.Proxy.AddLocalRoute(p); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []struct {
		from, to *Namespace
		addr     string
	}{
		{lab.Client, lab.Proxy, "10.1.0.1"}, {lab.Client, lab.Proxy, "fd00:1::1"},
		{lab.Proxy, lab.Upstream, "10.2.0.2"}, {lab.Proxy, lab.Upstream, "fd00:2::2"},
		{lab.Client, lab.Proxy, "198.18.15.200"}, {lab.Client, lab.Proxy, "2001:db8:0:7::9"},
	} {
		t.Run(path.addr, func(t *testing.T) { exchange(t, path.from, path.to, path.addr) })
	}
}

func exchange(t *testing.T, from, to *Namespace, addr string) {
	t.Helper()
	var ln net.Listener
	if err := to.Do(func() (err error) { ln, err = net.Listen("tcp", "[::]:4242"); return }); err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go greet(ln)
	var conn net.Conn
	err := from.Do(func() (err error) {
		conn, err = net.DialTimeout("tcp", net.JoinHostPort(addr, "4242"), 5*time.Second)
		return
	})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got, _ := io.ReadAll(conn); string(got) != "hello" {
		t.Fatalf("read %q", got)
	}
}

func greet(ln net.Listener) {
	conn, err := ln.Accept()
	if err != nil {
		return
	}
	fmt.Fprint(conn, "hello")
	conn.Close()
}

// TestClientCannotBypassProxy checks that the client has no way to the upstream.
func TestClientCannotBypassProxy(t *testing.T) {
	lab := NewTrio(t)
	err := lab.Client.Do(func() error {
		conn, err := net.DialTimeout("tcp", "10.2.0.2:80", time.Second)
		if err == nil {
			conn.Close()
		}
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "network is unreachable") {
		t.Fatalf("dial the upstream: %v, want unreachable", err)
	}
}

// TestCommandSeesHostSys checks where a command runs, and that /sys is the host's there.
func TestCommandSeesHostSys(t *testing.T) {
	ns, err := New(t).Add("one")
	if err != nil {
		t.Fatal(err)
	}
	out, err := ns.Command("readlink", "/proc/self/ns/net").Output()
	if want := fmt.Sprintf("net:[%d]\n", ns.Inode()); err != nil || string(out) != want {
		t.Fatalf("namespace of the command is %q (%v), want %q", out, err, want)
	}
	const sysMount = `grep " /sys " /proc/self/mountinfo`
	inside, err := ns.Command("sh", "-c", sysMount).Output()
	if err != nil {
		t.Fatal(err)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(mounts), string(inside)) {
		t.Fatalf("/sys of the command is %q, not the host's", inside)
	}
	if err := ns.Command("no-such-program").Run(); err == nil {
		t.Fatal("a program that does not exist ran")
	}
}

// TestSysctlIsPerNamespace sets a parameter in one of two namespaces.
func TestSysctlIsPerNamespace(t *testing.T) {
	lab := New(t)
	a, errA := lab.Add("a")
	b, errB := lab.Add("b")
	if err := errors.Join(errA, errB, a.Sysctl("net.ipv4.tcp_syncookies", "2")); err != nil {
		t.Fatal(err)
	}
	for ns, want := range map[*Namespace]string{a: "2\n", b: "1\n"} {
		got, err := ns.Command("cat", "/proc/sys/net/ipv4/tcp_syncookies").Output()
		if err != nil || string(got) != want {
			t.Errorf("tcp_syncookies in %s is %q (%v), want %q", ns.Name(), got, err, want)
		}
	}
}

// TestCloseKillsProcesses leaves a process and its detached child to Close.
func TestCloseKillsProcesses(t *testing.T) {
	RequireRoot(t)
	lab, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	ns, err := lab.Add("one")
	if err != nil {
		t.Fatal(err)
	}
	p, err := ns.Start("sh", "-c", "setsid sleep 1000 & sleep 1000")
	if err != nil {
		t.Fatal(err)
	}
	if err := lab.Close(); err != nil {
		t.Fatal(err)
	}
	if p.ExitCode() != -1 {
		t.Errorf("process ended with %d, want a signal", p.ExitCode())
	}
	if pids := processesIn(map[uint64]string{ns.Inode(): "one"}); len(pids) > 0 {
		t.Errorf("processes %v are left", pids)
	}
}

// TestCloseReportsLeaks closes a lab while a socket in it is still open.
func TestCloseReportsLeaks(t *testing.T) {
	RequireRoot(t)
	lab, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	ns, err := lab.Add("one")
	if err != nil {
		t.Fatal(err)
	}
	var ln net.Listener
	if err := ns.Do(func() (err error) { ln, err = net.Listen("tcp", "127.0.0.1:0"); return }); err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if err := lab.Close(); err == nil || !strings.Contains(err.Error(), "socket:") {
		t.Fatalf("Close said %v, want the leaked socket", err)
	}
}

// TestDoPassesPanic checks that a panic inside Do reaches the caller and that the thread comes back home.
func TestDoPassesPanic(t *testing.T) {
	ns, err := New(t).Add("one")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if r := recover(); r != "boom" {
			t.Errorf("recovered %v", r)
		}
	}()
	_ = ns.Do(func() error { panic("boom") })
}

// TestFindProgramInPeers finds a program of an unpacked package, with its libraries, and prefers PATH.
func TestFindProgramInPeers(t *testing.T) {
	peers := t.TempDir()
	t.Setenv("PEERS", peers)
	for _, file := range []string{"usr/sbin/some-peer", "usr/sbin/sh", "usr/lib/x86_64-linux-gnu/libpeer.so.1"} {
		path := filepath.Join(peers, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	got, err := FindProgram("some-peer")
	libraries := filepath.Join(peers, "usr/lib/x86_64-linux-gnu") + ":" + filepath.Join(peers, "usr/lib")
	want := []string{"env", "LD_LIBRARY_PATH=" + libraries, filepath.Join(peers, "usr/sbin/some-peer")}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("FindProgram = %q, %v, want %q", got, err, want)
	}
	if got, err := FindProgram("sh"); err != nil || len(got) != 1 {
		t.Errorf("FindProgram(sh) = %q, %v, want the one in PATH", got, err)
	}
	if _, err := FindProgram("no-such-program"); !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("FindProgram(no-such-program): %v, want exec.ErrNotFound", err)
	}
}
