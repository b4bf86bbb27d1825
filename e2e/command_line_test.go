package e2e

import (
	"strings"
	"testing"

	"anyport/bench/netlab"
)

// TestUsageErrors calls anyport wrongly in several ways: each earns one line and exit status 2.
func TestUsageErrors(t *testing.T) {
	w := newWorld(t)
	for _, args := range [][]string{
		{},
		{"frobnicate"},
		{"run", "--no-such-flag"},
		{"run", "surplus"},
		{"check"},
		{"explain"},
		{"explain", "198.18.0.1"},
		{"explain", "198.18.0.1:80/sctp"},
		{"explain", "198.18.0.1:80", "--from", "nobody"},
		{"status", "surplus"},
	} {
		_, errs, status := w.anyport(args...)
		if status != 2 || !strings.Contains(errs, "anyport: error: ") {
			t.Errorf("anyport %q ended with %d, said %q", args, status, errs)
		}
	}
	for _, args := range [][]string{{"--help"}, {"help"}, {"run", "--help"}, {"version"}} {
		if out, errs, status := w.anyport(args...); status != 0 || out == "" || errs != "" {
			t.Errorf("anyport %q ended with %d, printed %q, said %q", args, status, out, errs)
		}
	}
}

// TestNoDaemon asks for a daemon where there is none.
func TestNoDaemon(t *testing.T) {
	w := newWorld(t)
	for _, args := range [][]string{{"status"}, {"explain", "198.18.0.1:80"}, {"run", "-c", w.dir + "/missing.toml"}} {
		if _, errs, status := w.anyport(args...); status != 1 || !strings.HasPrefix(errs, "anyport: error: ") {
			t.Errorf("anyport %q ended with %d, said %q", args, status, errs)
		}
	}
}

// TestMissingPrivilege runs anyport as nobody without capabilities: one clear line, a hint, exit status 1.
func TestMissingPrivilege(t *testing.T) {
	netlab.RequireRoot(t)
	netlab.RequireProgram(t, "setpriv")
	w := newWorld(t)
	cmd := w.Proxy.Command("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--bounding-set", "-all",
		"--inh-caps", "-all", binaryPath, "run")
	_, errs, status := runShort(t, cmd)
	lines := strings.Split(strings.TrimSuffix(errs, "\n"), "\n")
	if status != 1 || len(lines) != 2 || !strings.HasPrefix(lines[0], "anyport: error: ") ||
		!strings.HasPrefix(lines[1], "anyport: hint: ") {
		t.Errorf("anyport run as nobody ended with %d, said\n%s", status, errs)
	}
}

// TestSecondDaemonRefused starts anyport twice in one namespace: the second one says so and changes nothing.
func TestSecondDaemonRefused(t *testing.T) {
	w := newWorld(t)
	w.upstreams(7000, echoAs("upstream"))
	d := w.run(prefixes + "[[route]]\nupstream = [\"10.2.0.2:7000\"]\n")
	if _, errs, status := w.anyport("run", "-c", d.config); status != 1 || !strings.Contains(errs, "anyport: error: ") {
		t.Errorf("a second anyport ended with %d, said %q", status, errs)
	}
	for _, f := range families {
		checkGreeting(t, w, f.destination(w.rng), "upstream")
	}
}

// TestCheckCommand prints the table of a good file and all faults of a bad one.
func TestCheckCommand(t *testing.T) {
	w := newWorld(t)
	good := w.file("good.toml", prefixes+"[[route]]\nname = \"web\"\nports = \"80\"\nupstream = [\"10.2.0.2:7000\"]\n")
	if out, errs, status := w.anyport("check", "-c", good); status != 0 || !strings.Contains(out, "web") {
		t.Errorf("check of a good file ended with %d, printed %q %q", status, out, errs)
	}
	bad := w.file("bad.toml", prefixes+"[[route]]\nports = \"0\"\nupstream = [\"198.18.0.9\"]\nsurprise = 1\n")
	_, errs, status := w.anyport("check", "-c", bad)
	if status != 1 {
		t.Errorf("check of a bad file ended with %d", status)
	}
	for _, want := range []string{"bad.toml:3", "bad.toml:4", "bad.toml:5", "surprise"} {
		if !strings.Contains(errs, want) {
			t.Errorf("check of a bad file does not say %q:\n%s", want, errs)
		}
	}
	if left := w.leftovers(); len(left) > 0 {
		t.Errorf("check left %q", left)
	}
}
