package conf

import (
	"os"
	"path/filepath"
	"testing"

	"anyport/conf/rule"
)

// FuzzParse wants every text to become either a configuration whose rules compile, or faults with their lines.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"examples/*.toml", "testdata/*/*.toml"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(text)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := Parse("fuzz.toml", text, testHost)
		if err != nil {
			checkFaults(t, err)
			return
		}
		if _, err := rule.Compile(c.RuleSet()); err != nil {
			t.Errorf("accepted, but: %v", err)
		}
	})
}
