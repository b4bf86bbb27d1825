package conf

import (
	"errors"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files of testdata anew")

// testHost is the machine that the files of testdata are checked for.
var testHost = &Host{
	Addrs: []HostAddr{
		{Interface: "lo", Prefix: netip.MustParsePrefix("127.0.0.1/8"), Loopback: true},
		{Interface: "lo", Prefix: netip.MustParsePrefix("::1/128"), Loopback: true},
		{Interface: "eth0", Prefix: netip.MustParsePrefix("192.0.2.5/24")},
		{Interface: "eth0", Prefix: netip.MustParsePrefix("2001:db8:1::5/64")},
	},
	Gateways: []netip.Addr{netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("2001:db8:2::1")},
}

// TestBadConfigs reads every testdata/bad/NAME.toml and wants exactly the faults of NAME.want.
func TestBadConfigs(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.toml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no bad configurations: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".toml"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, err = Parse(filepath.Base(file), text, testHost)
			checkFaults(t, err)
			golden(t, strings.TrimSuffix(file, ".toml")+".want", err.Error()+"\n")
		})
	}
}

// checkFaults wants an error that is a sorted list of faults, each with its place.
func checkFaults(t *testing.T, err error) {
	t.Helper()
	var faults Faults
	if !errors.As(err, &faults) || len(faults) == 0 {
		t.Fatalf("error %v (%T), want faults", err, err)
	}
	for _, f := range faults {
		if f.Line < 1 || f.File == "" || f.Message == "" {
			t.Errorf("fault without a place or a message: %+v", f)
		}
	}
	if !slices.IsSortedFunc(faults, func(a, b Fault) int { return a.Line - b.Line }) {
		t.Errorf("faults are not in order of their lines:\n%v", faults)
	}
}

// golden compares got with the content of a file, or writes it there with -update.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", file, diff)
	}
}

func TestLoadMissingFile(t *testing.T) {
	_, err := Load(filepath.Join(t.TempDir(), "none.toml"), nil)
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Load of a missing file: %v, want os.ErrNotExist", err)
	}
}

func TestParseTooLarge(t *testing.T) {
	_, err := Parse("big.toml", make([]byte, maxFileBytes+1), nil)
	want := "big.toml: the file has 67108865 bytes; 67108864 are the limit"
	if err == nil || err.Error() != want {
		t.Errorf("Parse of a huge text: %v, want %s", err, want)
	}
}
