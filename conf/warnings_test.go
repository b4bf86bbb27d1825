package conf

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestWarnings reads legal configurations with everything that is warned of.
func TestWarnings(t *testing.T) {
	files, err := filepath.Glob("testdata/warn/*.toml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no configurations: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		c, err := Parse(filepath.Base(file), text, testHost)
		if err != nil {
			t.Fatal(err)
		}
		var got strings.Builder
		for _, w := range c.Warnings {
			got.WriteString(w.Error() + "\n")
		}
		golden(t, strings.TrimSuffix(file, ".toml")+".want", got.String())
	}
}
