package bench

import (
	"os"
	"path/filepath"
	"testing"
)

// TestVersionOf asks programs that know one of the flags, or none, and tell on either stream.
func TestVersionOf(t *testing.T) {
	bin := t.TempDir()
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	for name, test := range map[string]struct{ script, want string }{
		"long":    {`[ "$1" = --version ] && echo "long, version 1.2"`, "long, version 1.2"},
		"short":   {`[ "$1" = -v ] || { echo "unknown, try -4 or -6" >&2; exit 1; }; echo "Short 3.4" >&2; exit 99`, "Short 3.4"},
		"silent":  {"exit 1", ""},
		"nothere": {},
	} {
		if test.script != "" {
			if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"+test.script+"\n"), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if got := versionOf(name); got != test.want {
			t.Errorf("version of %s is %q, want %q", name, got, test.want)
		}
	}
}
