package e2e

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

// explainConfig has rules that overlap in every way that precedence decides.
const explainConfig = prefixes + `
[[route]]
name = "rest"
upstream = ["10.2.0.2:7000"]
[[route]]
name = "low"
ports = "1-1000,!25"
upstream = ["10.2.0.2:7001"]
[[route]]
name = "half"
prefix = ["198.18.0.0/21", "2001:db8::/49"]
ports = "500-2000"
upstream = ["10.2.0.2:7002"]
[[route]]
name = "no-smtp"
ports = "25"
action = "refuse"
[[route]]
name = "client"
from = ["10.1.0.0/24", "fd00:1::/64"]
protocol = "tcp"
ports = "900-1500"
upstream = ["10.2.0.2:7003"]
[[route]]
name = "others"
from = ["10.9.0.0/16", "fd00:9::/32"]
ports = "700-750"
action = "refuse"
`

// TestExplainAgreesWithTraffic asks explain about random destinations and then goes there: what it says, what the
// kernel's program says and what happens must be one.
func TestExplainAgreesWithTraffic(t *testing.T) {
	w := newWorld(t)
	for i, name := range []string{"rest", "low", "half", "client"} {
		w.upstreams(uint16(7000+i), echoAs(name))
	}
	w.run(explainConfig)
	clients := map[string]string{"ipv4": "10.1.0.2", "ipv6": "fd00:1::2"}
	decisions := make(map[string]int)
	for _, f := range families {
		for _, port := range []uint16{25, 725} {
			decisions[checkExplain(t, w, withPort(f.address(w.rng), port), clients[f.name])]++
		}
		for range 20 {
			to := withPort(f.address(w.rng), uint16(1+w.rng.IntN(2200)))
			decisions[checkExplain(t, w, to, clients[f.name])]++
		}
	}
	if len(decisions) < 4 {
		t.Errorf("these destinations try too little: %v", decisions)
	}
}

// checkExplain compares explain with a TCP connection and returns the winning rule.
func checkExplain(t *testing.T, w *world, to netip.AddrPort, from string) string {
	t.Helper()
	out, errs, status := w.anyport("explain", to.String()+"/tcp", "--from", from)
	winner, decision, kernel := parseExplain(out)
	if status != 0 || kernel != "agrees" {
		t.Errorf("explain %s ended with %d, kernel %q, printed\n%s%s", to, status, kernel, out, errs)
	}
	if strings.HasPrefix(decision, "refused") {
		if err := refusal(w.Client, "tcp", to); !isRefused(err) {
			t.Errorf("explain says that %s is refused; dialling gave %v\n%s", to, err, out)
		}
		return winner
	}
	if err := tryEcho(w.Client, to, winner+"\n", []byte("hello")); err != nil {
		t.Errorf("%v; explain said\n%s", err, out)
	}
	return winner
}

// parseExplain takes the first rule, the decision and the kernel's word out of explain's output.
func parseExplain(out string) (winner, decision, kernel string) {
	lines := strings.Split(out, "\n")
	if len(lines) > 1 {
		winner, _, _ = strings.Cut(strings.TrimSpace(lines[1]), " ")
	}
	for _, line := range lines {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch key {
		case "decision":
			decision = strings.TrimSpace(value)
		case "kernel":
			kernel, _, _ = strings.Cut(strings.TrimSpace(value), ":")
		}
	}
	return winner, decision, kernel
}

// TestExplainAfterFileChanged explains by a file that differs from what the daemon runs: the kernel disagrees, and
// explain says so and fails.
func TestExplainAfterFileChanged(t *testing.T) {
	w := newWorld(t)
	w.run(prefixes + "[[route]]\nname = \"a\"\nports = \"80\"\nupstream = [\"10.2.0.2:7000\"]\n")
	other := w.file("other.toml", prefixes+"[[route]]\nname = \"b\"\nports = \"81\"\nupstream = [\"10.2.0.2:7000\"]\n")
	for port, want := range map[int]int{80: 1, 81: 1, 82: 0} {
		out, errs, status := w.anyport("explain", fmt.Sprintf("198.18.0.1:%d", port), "-c", other)
		if status != want {
			t.Errorf("explain of port %d ended with %d, want %d\n%s%s", port, status, want, out, errs)
		}
	}
}
