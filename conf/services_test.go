package conf

import (
	"fmt"
	"strings"
	"testing"
)

func withServers(t *testing.T, names ...string) *Config {
	t.Helper()
	var b strings.Builder
	b.WriteString("prefixes = [\"198.18.0.0/20\"]\n")
	for i, name := range names {
		fmt.Fprintf(&b, "[[dns]]\nname = %q\nprefix = [\"198.18.%d.0/24\"]\nzones = [\"*.zone\"]\n", name, i)
	}
	c, err := Parse("test.toml", []byte(b.String()), nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func services(c *Config) map[string]uint16 {
	m := make(map[string]uint16)
	for _, s := range c.DNS {
		m[s.Name] = s.Service
	}
	return m
}

// A reload may reorder, add and remove servers; no number may pass from one server of the old set to another of the new.
func TestKeepServices(t *testing.T) {
	old := withServers(t, "a", "b", "c")
	if got := fmt.Sprint(services(old)); got != fmt.Sprint(map[string]uint16{"a": ServiceDNS, "b": ServiceDNS + 1, "c": ServiceDNS + 2}) {
		t.Errorf("services of a fresh configuration: %v", got)
	}
	fresh := withServers(t, "new", "c", "a", "newer")
	kept := fresh.KeepServices(old)
	want := map[string]uint16{"new": ServiceDNS + 3, "c": ServiceDNS + 2, "a": ServiceDNS, "newer": ServiceDNS + 4}
	if got := services(kept); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("services after a reload: %v, want %v", got, want)
	}
	for i, r := range kept.RuleSet().Rules {
		if r.Service != want[kept.DNS[i].Name] {
			t.Errorf("rule %s steers to %d, want %d", r.Name, r.Service, want[r.Name])
		}
	}
	if got := fmt.Sprint(services(fresh)); got != fmt.Sprint(services(withServers(t, "new", "c", "a", "newer"))) {
		t.Errorf("the configuration itself was changed: %v", got)
	}
	again := withServers(t, "x", "y").KeepServices(kept)
	if got := services(again); got["x"] != ServiceDNS+1 || got["y"] != ServiceDNS+5 {
		t.Errorf("free numbers are not used again: %v", got)
	}
}

// withMSS returns a configuration with a route for each mss.
func withMSS(t *testing.T, list ...int) *Config {
	t.Helper()
	text := "prefixes = [\"198.18.0.0/20\"]\n"
	for i, mss := range list {
		text += fmt.Sprintf("[[route]]\nports = \"%d\"\nmss = %d\nupstream = [\"10.0.0.5\"]\n", i+1, mss)
	}
	return parse(t, "test.toml", text)
}

// A listener for an mss keeps its number, too; routes with the same one share it, and those without have the proxy's.
func TestKeepListeners(t *testing.T) {
	const first = serviceListener
	check := func(c *Config, want ...uint16) *Config {
		t.Helper()
		for i, r := range c.RuleSet().Rules {
			if r.Service != want[i] {
				t.Errorf("route %d steers to %d, want %d", i+1, r.Service, want[i])
			}
		}
		return c
	}
	old := check(withMSS(t, 1000, 0, 1200, 1000), first, ServiceProxy, first+1, first)
	fresh := withMSS(t, 1100, 1200, 0, 1300)
	kept := check(fresh.KeepServices(old), first+2, first+1, ServiceProxy, first+3)
	check(fresh, first, first+1, ServiceProxy, first+2)
	check(withMSS(t, 1400, 1300).KeepServices(kept), first, first+3)
	if last := first + 2*maxListeners; last > RepliesService(maxUDPWorkers-1) {
		t.Errorf("listeners reach to service %d, which is one for UDP replies", last)
	}
}
