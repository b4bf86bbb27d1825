package main

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
)

func listenNotify(t *testing.T) *net.UnixConn {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return c
}

func TestSendNotify(t *testing.T) {
	c := listenNotify(t)
	if err := sendNotify(notifyReady); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	n, err := c.Read(buf)
	if err != nil || string(buf[:n]) != "READY=1" {
		t.Errorf("received %q, %v", buf[:n], err)
	}
}

// A receiver that has stopped reading must not stop the daemon.
func TestSendNotifyGivesUp(t *testing.T) {
	listenNotify(t)
	for range 10000 { // more than any queue of a Unix socket holds
		if err := sendNotify(notifyReady); err != nil {
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("a full receiver: %v, want a time-out", err)
			}
			return
		}
	}
	t.Error("a receiver that does not read takes everything")
}

func TestSendNotifyUnasked(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	if err := sendNotify(notifyReady); err != nil {
		t.Error(err)
	}
}
