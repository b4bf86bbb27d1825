package conf

import (
	"os"
	"strings"
	"testing"
)

// TestWarnings reads a legal configuration with everything that is warned of.
func TestWarnings(t *testing.T) {
	text, err := os.ReadFile("testdata/warn/all.toml")
	if err != nil {
		t.Fatal(err)
	}
	c, err := Parse("all.toml", text, testHost)
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for _, w := range c.Warnings {
		got.WriteString(w.Error() + "\n")
	}
	golden(t, "testdata/warn/all.want", got.String())
}
