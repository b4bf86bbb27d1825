package e2e

import (
	"regexp"
	"strings"
	"testing"

	"anyport/bench/netlab"
)

// TestDemo runs anyport without a file and then the three commands of its banner, as printed.
func TestDemo(t *testing.T) {
	netlab.RequireRoot(t)
	netlab.RequireProgram(t, "curl", "nc")
	w := newWorld(t)
	d := w.start(w.Proxy.Command(binaryPath, "run"))
	var commands []string
	waitFor(t, "a banner of three commands", func() bool {
		commands = bannerCommands(d.Output())
		return len(commands) == 3
	})
	destination := regexp.MustCompile(`127\.64\.\d+\.\d+|\[fd64:[0-9a-f:]+\]`)
	for _, command := range commands {
		out, errs, _ := runShort(t, w.Proxy.Command("sh", "-c", command))
		if want := destination.FindString(command); want == "" || !strings.Contains(out, want) {
			t.Errorf("%s\nprinted %q %q, not the destination %s", command, out, errs, want)
		}
	}
}

// bannerCommands returns the indented lines.
func bannerCommands(output string) []string {
	var commands []string
	for line := range strings.Lines(output) {
		if command, ok := strings.CutPrefix(line, "  "); ok {
			commands = append(commands, strings.TrimSpace(command))
		}
	}
	return commands
}
