package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf/link"

	"anyport/bench/netlab"
)

// prefixes heads most configurations: both of the trio's prefixes, sealed.
const prefixes = "prefixes = [\"198.18.0.0/20\", \"2001:db8::/48\"]\n"

// daemon is a running `anyport run`.
type daemon struct {
	*netlab.Process
	w      *world
	config string // its file
	notify *net.UnixConn
}

// run starts anyport in the proxy's namespace with a configuration and waits until it says that it is ready. The test
// ends it; it must then end well, unless the test has ended it before.
func (w *world) run(config string) *daemon {
	w.t.Helper()
	path := w.file("anyport.toml", config)
	d := w.start(w.Proxy.Command(binaryPath, "run", "-c", path))
	d.config = path
	return d
}

// start is run for a command line of the test's own.
func (w *world) start(cmd *exec.Cmd) *daemon {
	w.t.Helper()
	notifyPath := filepath.Join(w.dir, fmt.Sprintf("notify-%d", time.Now().UnixNano()))
	notify, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: notifyPath})
	w.must(err)
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+notifyPath)
	p, err := w.Proxy.StartCmd(cmd)
	w.must(err)
	d := &daemon{Process: p, w: w, notify: notify}
	w.t.Cleanup(d.stop)
	d.waitReady()
	return d
}

// stop ends a daemon that the test has left running.
func (d *daemon) stop() {
	defer d.notify.Close()
	if !d.terminate() {
		d.w.t.Errorf("anyport ignores SIGTERM")
		_ = d.Signal(syscall.SIGQUIT) // for the stacks
		select {
		case <-d.Done():
		case <-time.After(deadline):
			d.Kill()
		}
	}
	if d.w.t.Failed() {
		d.w.t.Logf("anyport said:\n%.20000s", d.Output())
	}
}

// terminate sends SIGTERM until the daemon has ended, since the second one cuts the drain short; a signal that comes
// while one is pending counts as none. It reports whether that worked.
func (d *daemon) terminate() bool {
	for end := time.Now().Add(deadline); time.Now().Before(end); {
		_ = d.Signal(syscall.SIGTERM) // it may have ended
		select {
		case <-d.Done():
			return true
		case <-time.After(50 * time.Millisecond):
		}
	}
	return false
}

// waitReady waits for READY=1 (sd_notify(3)).
func (d *daemon) waitReady() {
	d.w.t.Helper()
	ready := make(chan struct{})
	go readNotifications(d.notify, ready)
	select {
	case <-ready:
	case <-time.After(deadline):
		d.w.t.Fatal("anyport does not get ready")
	case <-d.Done():
		d.w.t.Fatalf("anyport ended instead of getting ready: %v\n%s", d.Wait(), d.Output())
	}
}

// readNotifications reads until the socket is closed, as a service manager does: a full socket stops the daemon. It
// closes ready at the first READY=1.
func readNotifications(c *net.UnixConn, ready chan<- struct{}) {
	var once sync.Once
	buf := make([]byte, 4096)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		if slices.Contains(strings.Split(string(buf[:n]), "\n"), "READY=1") {
			once.Do(func() { close(ready) })
		}
	}
}

// reload puts a new configuration into the daemon's file and sends SIGHUP, without waiting for anything.
func (d *daemon) reload(config string) {
	d.w.t.Helper()
	d.w.file(filepath.Base(d.config), config)
	d.w.must(d.Signal(syscall.SIGHUP))
}

// waitExit waits for the daemon's end and returns its exit status.
func (d *daemon) waitExit() int {
	d.w.t.Helper()
	select {
	case <-d.Done():
	case <-time.After(deadline):
		d.w.t.Fatalf("anyport does not end\n%s", d.Output())
	}
	return d.ExitCode()
}

// anyport runs a short subcommand in the proxy's namespace and returns what it printed and its exit status.
func (w *world) anyport(args ...string) (stdout, stderr string, status int) {
	w.t.Helper()
	return runShort(w.t, w.Proxy.Command(binaryPath, args...))
}

// runShort runs a command that must end within the deadline.
func runShort(t *testing.T, cmd *exec.Cmd) (stdout, stderr string, status int) {
	t.Helper()
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() })
	defer stop()
	var exit *exec.ExitError
	if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if ctx.Err() != nil {
		t.Fatalf("%s does not end; so far:\n%s%s", cmd, out.String(), errs.String())
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// lookupLinks describes the sk_lookup links of a network namespace. A link that another test is just making cannot be
// looked at yet, so that they are listed again.
func lookupLinks(t *testing.T, netns uint64) (found []string) {
	t.Helper()
	waitFor(t, "BPF links to be listed", func() bool {
		var err error
		if found, err = listLookupLinks(netns); err != nil && !errors.Is(err, syscall.EAGAIN) {
			t.Fatalf("list BPF links: %v", err)
		}
		return err == nil
	})
	return found
}

func listLookupLinks(netns uint64) (found []string, err error) {
	it := new(link.Iterator)
	defer it.Close()
	for it.Next() {
		info, err := it.Link.Info()
		if err != nil || info.NetNs() == nil {
			continue
		}
		if uint64(info.NetNs().NetnsInode) == netns {
			found = append(found, fmt.Sprintf("sk_lookup link %d", info.ID))
		}
	}
	return found, it.Err()
}
