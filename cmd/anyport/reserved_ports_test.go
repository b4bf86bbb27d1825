package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"anyport/bench/netlab"
	"anyport/conf/rule"
)

// TestReservedPorts follows the sysctl through starts, reloads, kills and ends of a daemon.
func TestReservedPorts(t *testing.T) {
	dir := t.TempDir()
	r := reservedPorts{filepath.Join(dir, "sysctl"), filepath.Join(dir, "note"), "7"}
	must(t, os.WriteFile(r.sysctl, []byte("80,10005-10010\n"), 0o600))
	ports := func(first, last uint16) []rule.PortRange { return []rule.PortRange{{First: first, Last: last}} }
	check := func(what, want string, noted bool) {
		t.Helper()
		text, err := os.ReadFile(r.sysctl)
		must(t, err)
		if got := strings.TrimSpace(string(text)); got != want {
			t.Errorf("%s: reserved %q, want %q", what, got, want)
		}
		if _, err := os.Stat(r.note); errors.Is(err, fs.ErrNotExist) == noted {
			t.Errorf("%s: note: %v, want one: %v", what, err, noted)
		}
	}
	must(t, r.set(ports(10000, 10020)))
	check("start", "80,10000-10020", true)
	must(t, r.set(ports(10000, 10020)))
	check("start after a kill", "80,10000-10020", true)
	must(t, r.set(ports(10008, 65535)))
	check("other ports", "80,10005-65535", true)
	must(t, os.WriteFile(r.sysctl, []byte("80,443,10005-65535\n"), 0o600)) // somebody adds one
	must(t, r.set(nil))
	check("end", "80,443,10005-10010", false)
	must(t, r.set(nil))
	check("second end", "80,443,10005-10010", false)

	must(t, r.set(ports(1, 1)))
	other := reservedPorts{r.sysctl, r.note, "8"}
	must(t, other.set(nil))
	check("the note of another namespace", "1,80,443,10005-10010", true)
	must(t, os.WriteFile(r.sysctl, []byte("x\n"), 0o600))
	if err := r.set(nil); err == nil {
		t.Error("a sysctl that is no list of ports was taken")
	}
}

// TestReservedPortsOfHost writes the sysctl of the tests' namespace.
func TestReservedPortsOfHost(t *testing.T) {
	netlab.RequireRoot(t)
	cookie, err := netnsCookie()
	must(t, err)
	r := reservedPorts{reservedSysctl, filepath.Join(t.TempDir(), "note"), cookie}
	before, err := os.ReadFile(r.sysctl)
	must(t, err)
	if strings.TrimSpace(string(before)) != "" {
		t.Fatalf("a fresh namespace reserves %s", before)
	}
	must(t, r.set([]rule.PortRange{{First: 10000, Last: 32767}, {First: 40001, Last: 40001}}))
	text, err := os.ReadFile(r.sysctl)
	must(t, err)
	if got := strings.TrimSpace(string(text)); got != "10000-32767,40001" {
		t.Errorf("reserved %q", got)
	}
	must(t, r.set(nil))
	if after, err := os.ReadFile(r.sysctl); err != nil || string(after) != string(before) {
		t.Errorf("%q is left, %v, want %q", after, err, before)
	}
}
