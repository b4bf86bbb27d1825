package conf

import (
	"errors"
	"os"
	"strings"
	"testing"
)

// TestWriteTable compares the table of each testdata/table/*.toml with the .want beside it.
func TestWriteTable(t *testing.T) {
	for _, name := range []string{"precedence", "inherited", "open"} {
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile("testdata/table/" + name + ".toml")
			if err != nil {
				t.Fatal(err)
			}
			c, err := Parse(name+".toml", text, nil)
			if err != nil {
				t.Fatal(err)
			}
			var got strings.Builder
			if err := c.WriteTable(&got); err != nil {
				t.Fatal(err)
			}
			golden(t, "testdata/table/"+name+".want", got.String())
		})
	}
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }

func TestWriteTableReportsWriteErrors(t *testing.T) {
	c, err := Parse("x.toml", []byte(`prefixes = ["198.18.0.0/20"]`), nil)
	if err != nil {
		t.Fatal(err)
	}
	full := errors.New("disk full")
	if err := c.WriteTable(failingWriter{full}); !errors.Is(err, full) {
		t.Errorf("WriteTable to a full disk: %v, want %v", err, full)
	}
}
