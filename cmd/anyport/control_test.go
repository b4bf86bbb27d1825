package main

import (
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// Of daemons that start together one gets the control socket, and the others are told.
func TestClaimControlOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "1.sock")
	listeners, refusals := make(chan net.Listener, 16), make(chan error, 16)
	var daemons sync.WaitGroup
	for range cap(listeners) {
		daemons.Go(func() {
			if l, err := claimControl(path); err != nil {
				refusals <- err
			} else {
				listeners <- l
			}
		})
	}
	daemons.Wait()
	if len(listeners) != 1 {
		t.Errorf("%d daemons have the control socket, want 1", len(listeners))
	}
	for range len(refusals) {
		if err := <-refusals; hintFor(err) == "" || !strings.Contains(err.Error(), "another anyport") {
			t.Errorf("a daemon that came late was told %v", err)
		}
	}
	for range len(listeners) {
		(<-listeners).Close()
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the closed control socket is left: %v", err)
	}
}

// A socket whose daemon was killed is replaced, by one that others may not connect to.
func TestClaimControlReplacesDead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "1.sock")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	must(t, err)
	dead.SetUnlinkOnClose(false)
	dead.Close()
	before := unix.Umask(0)
	l, err := claimControl(path)
	unix.Umask(before)
	must(t, err)
	defer l.Close()
	info, err := os.Stat(path)
	must(t, err)
	if got := info.Mode().Perm(); got != 0o600 {
		t.Errorf("the control socket has mode %o, want 600", got)
	}
	c, err := net.Dial("unix", path)
	must(t, err)
	c.Close()
}

// unload takes a dead control socket away, and leaves one that answers alone.
func TestRemoveDeadControl(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "1.sock")
	must(t, removeDeadControl(filepath.Join(dir, "missing", "1.sock")))
	must(t, removeDeadControl(path))
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	must(t, err)
	l.SetUnlinkOnClose(false)
	if err := removeDeadControl(path); err == nil {
		t.Error("a socket that answers was removed")
	}
	l.Close()
	must(t, removeDeadControl(path))
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a dead socket is left: %v", err)
	}
}

// While it starts, a daemon tells who it is, and that there is no configuration to explain yet.
func TestControlWhileStarting(t *testing.T) {
	h := controlHandler(newDaemon(runOptions{}, slog.New(slog.DiscardHandler)))
	for path, want := range map[string]int{"/status": http.StatusOK, "/config": http.StatusServiceUnavailable,
		"/other": http.StatusNotFound} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if w.Code != want {
			t.Errorf("GET %s: %d, want %d", path, w.Code, want)
		}
	}
}
