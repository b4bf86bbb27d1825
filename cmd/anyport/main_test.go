package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/spf13/pflag"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"anyport/bench/netlab"
	"anyport/conf/rule"
	"anyport/steering"
)

// TestMain runs the tests in a network namespace of their own, which has a loopback interface and nothing else. Without
// root they run where they are, and those that need it skip.
func TestMain(m *testing.M) {
	if status, done := netlab.RunInside(nil); done {
		os.Exit(status)
	}
	goleak.VerifyTestMain(m)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// The usage text lists every command, and no other.
func TestUsageListsCommands(t *testing.T) {
	_, list, _ := strings.Cut(usage, "Commands:\n")
	list, _, _ = strings.Cut(list, "\n\n")
	listed := make(map[string]bool)
	for _, m := range regexp.MustCompile(`(?m)^  ([a-z]+) `).FindAllStringSubmatch(list, -1) {
		listed[m[1]] = true
	}
	for name := range commands {
		if !listed[name] {
			t.Errorf("the usage text does not list %s", name)
		}
		delete(listed, name)
	}
	for name := range listed {
		t.Errorf("the usage text lists %s, which is no command", name)
	}
}

func TestExitStatus(t *testing.T) {
	failed := errors.New("failed")
	for _, c := range []struct {
		err    error
		status int
		hint   string
	}{
		{nil, 0, ""},
		{pflag.ErrHelp, 0, ""},
		{failed, 1, ""},
		{hintError{failed, "do this"}, 1, "do this"},
		{fmt.Errorf("run: %w", hintError{failed, "do this"}), 1, "do this"},
		{errors.Join(failed, hintError{failed, "do this"}), 1, "do this"},
		{fmt.Errorf("open raw socket: %w", unix.EPERM), 1, "CAP_NET_RAW"},
		{fmt.Errorf("load: %w", &steering.PrivilegeError{Err: failed}), 1, "CAP_BPF"},
		{&steering.UnsupportedError{Feature: "sk_lookup", Least: "5.9"}, 1, "5.15"},
		{fmt.Errorf("probe: %w", ebpf.ErrNotSupported), 1, ""},
		{usageError("wrong"), 2, ""},
		{fmt.Errorf("run: %w", usageError("wrong")), 2, ""},
	} {
		if got := exitStatus(c.err); got != c.status {
			t.Errorf("%v: exit status %d, want %d", c.err, got, c.status)
		}
		if c.err == nil {
			continue
		}
		if got := hintFor(c.err); !strings.Contains(got, c.hint) || (got == "") != (c.hint == "") {
			t.Errorf("%v: hint %q, want one with %q", c.err, got, c.hint)
		}
	}
}

func TestDispatchRefuses(t *testing.T) {
	for _, args := range [][]string{{}, {"frobnicate"}, {"version", "surplus"}, {"version", "--no-such-flag"},
		{"check"}, {"explain"}, {"refusals", "-n", "-1"}} {
		var misuse usageError
		if err := dispatch(args); !errors.As(err, &misuse) {
			t.Errorf("anyport %q: %v, want a usage error", args, err)
		}
	}
}

func TestParseQuestion(t *testing.T) {
	both, tcp, udp := []rule.Protocol{rule.TCP, rule.UDP}, []rule.Protocol{rule.TCP}, []rule.Protocol{rule.UDP}
	for _, c := range []struct {
		destination, from string
		protocols         []rule.Protocol
		dst, src          string
	}{
		{"198.18.0.1:80", "", both, "198.18.0.1:80", "0.0.0.0"},
		{"198.18.0.1:80/tcp", "192.0.2.1", tcp, "198.18.0.1:80", "192.0.2.1"},
		{"198.18.0.1:80/udp", "::ffff:192.0.2.1", udp, "198.18.0.1:80", "192.0.2.1"},
		{"[::ffff:198.18.0.1]:80", "192.0.2.1", both, "198.18.0.1:80", "192.0.2.1"},
		{"[2001:db8::1]:53/udp", "", udp, "[2001:db8::1]:53", "::"},
		{"[2001:db8::1]:53", "2001:db8:1::1", both, "[2001:db8::1]:53", "2001:db8:1::1"},
		{"198.18.0.1:0", "", both, "198.18.0.1:0", "0.0.0.0"},
	} {
		q, err := parseQuestion(c.destination, c.from)
		if err != nil {
			t.Errorf("%s from %q: %v", c.destination, c.from, err)
			continue
		}
		if fmt.Sprint(q.protocols) != fmt.Sprint(c.protocols) || q.dst != netip.MustParseAddrPort(c.dst) ||
			q.src != netip.MustParseAddr(c.src) {
			t.Errorf("%s from %q: %+v, want %v %s from %s", c.destination, c.from, q, c.protocols, c.dst, c.src)
		}
	}
}

func TestParseQuestionRefuses(t *testing.T) {
	for _, c := range []struct{ destination, from, want string }{
		{"198.18.0.1", "", "ADDR:PORT"},
		{"2001:db8::1:80", "", "ADDR:PORT"},
		{"198.18.0.1:65536", "", "ADDR:PORT"},
		{"example.test:80", "", "ADDR:PORT"},
		{"198.18.0.1:80/sctp", "", "no protocol"},
		{"198.18.0.1:80/", "", "no protocol"},
		{"198.18.0.1:80", "nobody", "no source"},
		{"198.18.0.1:80", "2001:db8::1", "IP versions"},
		{"[2001:db8::1]:80", "192.0.2.1", "IP versions"},
	} {
		var misuse usageError
		_, err := parseQuestion(c.destination, c.from)
		if !errors.As(err, &misuse) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s from %q: %v, want a usage error with %q", c.destination, c.from, err, c.want)
		}
	}
}

// The unit gives each capability for a reason that it states, and has room for what the daemon writes.
func TestUnit(t *testing.T) {
	text, err := os.ReadFile("anyport.service")
	must(t, err)
	var comments strings.Builder
	settings := make(map[string]string)
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			comments.WriteString(line)
		} else if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			settings[key] = value
		}
	}
	capabilities := strings.Fields(settings["CapabilityBoundingSet"])
	for _, c := range capabilities {
		if !regexp.MustCompile(`\b` + c + `\b`).MatchString(comments.String()) {
			t.Errorf("the unit does not say what %s is for", c)
		}
	}
	if len(capabilities) == 0 {
		t.Error("the unit does not limit capabilities")
	}
	if got := filepath.Join("/run", settings["RuntimeDirectory"]); got != controlDir {
		t.Errorf("the unit makes %s, the control socket is in %s", got, controlDir)
	}
	if !strings.Contains(settings["ReadWritePaths"], steering.DefaultBpffs) {
		t.Errorf("the unit lets the daemon write %q, without %s", settings["ReadWritePaths"], steering.DefaultBpffs)
	}
}
