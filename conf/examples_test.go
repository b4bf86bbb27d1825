package conf

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestExamples(t *testing.T) {
	files, err := filepath.Glob("examples/*.toml")
	if err != nil || len(files) < 4 {
		t.Fatalf("examples are missing: %v, %v", files, err)
	}
	for _, file := range files {
		c, err := Load(file, testHost)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, w := range c.Warnings {
			if !strings.Contains(w.Message, "is not an address of this host") {
				t.Errorf("%s warns: %v", file, w)
			}
		}
	}
}

// documentation reads complete.toml as its reader does, and returns the comment above the first appearance of each key.
func documentation(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("examples/complete.toml")
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string]string{}
	path, comment := "", ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		key, _, isKey := strings.Cut(line, " = ")
		switch {
		case strings.HasPrefix(line, "#"):
			comment += strings.TrimSpace(strings.TrimPrefix(line, "#")) + "\n"
			continue
		case strings.HasPrefix(line, "["):
			path = strings.Trim(line, "[]")
			keys[path] = comment // of a table that a key stands for
		case isKey:
			name := joinPath(path, strings.TrimSpace(key))
			if _, again := keys[name]; !again {
				keys[name] = comment
			}
		}
		comment = ""
	}
	return keys
}

// TestCompleteExample wants every key that the decoder knows in complete.toml, each with its default as the decoder
// has it.
func TestCompleteExample(t *testing.T) {
	docs := documentation(t)
	for _, path := range append([]string{"", healthCheckPath}, listPaths...) {
		for _, name := range sectionKeys(path) {
			comment, ok := docs[joinPath(path, name)]
			if !ok {
				t.Errorf("complete.toml does not have %s", joinPath(path, name))
				continue
			}
			if want := wantDefault(path, name); !strings.Contains(comment, want+"\n") {
				t.Errorf("complete.toml does not say %q about %s:\n%s", want, joinPath(path, name), comment)
			}
		}
	}
}

// wantDefault returns the line of a comment that tells the default of a key.
func wantDefault(path, name string) string {
	switch special := joinPath(path, name); special {
	case "route.name":
		return `Default: "route-N" for the N-th route of the file.`
	case "route.prefix", "dns.prefix":
		return "Default: every served prefix."
	case "route.from":
		return "Default: every source."
	case "route.accept_proxy_from":
		return "Default: nobody's."
	case "route.upstream":
		return `Required unless action is "refuse" or "pass".`
	case "route.idle_timeout":
		return `Default: "1h" for TCP, "60s" for UDP.`
	case "dns.name":
		return `Default: "dns" for the first server of the file, then "dns-2" and so on.`
	case "dns.zones":
		return "Required."
	}
	return "Default: " + rawDefault(path, name)
}

// rawDefault returns the default of a key as defaults.toml has it, or "missing".
func rawDefault(path, name string) string {
	at, raw := "", "missing"
	for line := range strings.Lines(string(defaultsText)) {
		if strings.HasPrefix(line, "[") {
			at = strings.Trim(line, "[]\n")
		}
		key, value, _ := strings.Cut(line, "=")
		if at == path && strings.TrimSpace(key) == name {
			raw = strings.TrimSpace(value)
		}
	}
	return raw
}

// TestIdleDefaults holds what complete.toml says about idle_timeout against the constants.
func TestIdleDefaults(t *testing.T) {
	for text, want := range map[string]time.Duration{"1h": DefaultTCPIdle, "60s": DefaultUDPIdle} {
		if got, f := parseTimeout(text); f != nil || got != want {
			t.Errorf("the default is %v, complete.toml says %s", want, text)
		}
	}
}

// TestDefaultsFile wants a default in defaults.toml to be a key that the decoder knows, and to be no fault.
func TestDefaultsFile(t *testing.T) {
	for path, s := range defaults() {
		known := sectionKeys(path)
		for _, name := range s.order {
			if nearest(name, known) != name {
				t.Errorf("defaults.toml has %s, which is no key", joinPath(path, name))
			}
		}
	}
	d := &decoder{file: "defaults.toml"}
	decode(d, defaults()[""], defaults()[""], topKeys, &Config{})
	decode(d, defaults()["route"], defaults()["route"], routeKeys, &Route{})
	decode(d, defaults()[healthCheckPath], defaults()[healthCheckPath], healthCheckKeys, &HealthCheck{})
	decode(d, defaults()["dns"], defaults()["dns"], dnsKeys, &DNS{})
	if len(d.faults) > 0 {
		t.Error(d.faults)
	}
}
