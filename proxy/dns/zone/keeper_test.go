package zone

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// text is a zone whose serial number tells one version from another.
func text(serial int) string {
	return fmt.Sprintf("@ 300 SOA ns host %d 2 3 4 60\n@ 300 NS ns.other.test.\n", serial)
}

// rewrite replaces a file as an editor does, with a time of its own, so that no test depends on the clock's steps.
func rewrite(t *testing.T, path, content string, age time.Duration) {
	t.Helper()
	write(t, filepath.Dir(path), filepath.Base(path), content)
	at := time.Now().Add(-age)
	if err := os.Chtimes(path, at, at); err != nil {
		t.Fatal(err)
	}
}

func (k *Keeper) serial(t *testing.T, name string) uint32 {
	t.Helper()
	z := k.Zones().Get(parseName(t, name))
	if z == nil {
		return 0
	}
	return z.Serial
}

func TestKeeper(t *testing.T) {
	dir := t.TempDir()
	one, two := filepath.Join(dir, "one.test.zone"), filepath.Join(dir, "two.test.zone")
	rewrite(t, one, text(1), time.Hour)
	rewrite(t, two, text(1), time.Hour)
	k := NewKeeper([]string{filepath.Join(dir, "*.zone")})
	expect := func(what string, c Change, loaded, removed int, fault string, one, two, three uint32) {
		t.Helper()
		if len(c.Loaded) != loaded || len(c.Removed) != removed {
			t.Errorf("%s: loaded %d, removed %d", what, len(c.Loaded), len(c.Removed))
		}
		if fault == "" && c.Err != nil || fault != "" && (c.Err == nil || !strings.Contains(c.Err.Error(), fault)) {
			t.Errorf("%s: error %v", what, c.Err)
		}
		got := [3]uint32{k.serial(t, "one.test."), k.serial(t, "two.test."), k.serial(t, "three.test.")}
		if got != [3]uint32{one, two, three} {
			t.Errorf("%s: serials %v", what, got)
		}
	}
	expect("first", k.Refresh(false), 2, 0, "", 1, 1, 0)
	expect("unchanged", k.Refresh(false), 0, 0, "", 1, 1, 0)
	rewrite(t, one, text(2), 90*time.Minute)
	expect("changed", k.Refresh(false), 1, 0, "", 2, 1, 0)
	rewrite(t, one, text(3)+"broken\n", 2*time.Hour)
	expect("fault", k.Refresh(false), 0, 0, one+":3: ", 2, 1, 0)
	expect("the same fault", k.Refresh(false), 0, 0, "", 2, 1, 0)
	rewrite(t, one, text(4), 3*time.Hour)
	expect("mended", k.Refresh(false), 1, 0, "", 4, 1, 0)
	three := filepath.Join(dir, "three.test.zone")
	rewrite(t, three, text(1), 2*time.Hour)
	expect("added", k.Refresh(false), 1, 0, "", 4, 1, 1)
	rewrite(t, three, "$ORIGIN one.test.\n"+text(9), time.Hour)
	expect("clash", k.Refresh(false), 0, 0, "the zone one.test. is already read from "+one, 4, 1, 1)
	if err := os.Remove(three); err != nil {
		t.Fatal(err)
	}
	expect("removed", k.Refresh(false), 0, 1, "", 4, 1, 0)
}

// A caller that looks at intervals gets a file only once it has stayed the same between two looks.
func TestKeeperWaitsUntilSettled(t *testing.T) {
	dir := t.TempDir()
	path := write(t, dir, "one.test.zone", text(1))
	k := NewKeeper([]string{path})
	k.Refresh(false)
	rewrite(t, path, text(2), time.Hour)
	if k.Refresh(true); k.serial(t, "one.test.") != 1 {
		t.Error("a fresh change was read")
	}
	rewrite(t, path, text(3), 2*time.Hour)
	if k.Refresh(true); k.serial(t, "one.test.") != 1 {
		t.Error("a file that still changes was read")
	}
	if k.Refresh(true); k.serial(t, "one.test.") != 3 {
		t.Error("a settled file was not read")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if k.Refresh(true); k.serial(t, "one.test.") != 3 {
		t.Error("a zone went away at the first look")
	}
	if c := k.Refresh(true); k.serial(t, "one.test.") != 0 || c.Err == nil {
		t.Error("a zone whose file is gone is still there, or nobody was told")
	}
}

// Two changes within one step of the clock look alike; the second one is seen all the same.
func TestKeeperSeesQuickChanges(t *testing.T) {
	path := write(t, t.TempDir(), "one.test.zone", text(1))
	k := NewKeeper([]string{path})
	k.Refresh(false)
	for i := range uint32(9) {
		write(t, filepath.Dir(path), "one.test.zone", text(int(i)))
		if k.Refresh(false); k.serial(t, "one.test.") != i {
			t.Fatalf("change %d was not seen", i)
		}
	}
}

// A change in an included file is a change of the zone.
func TestKeeperWatchesIncludedFiles(t *testing.T) {
	dir := t.TempDir()
	path := write(t, dir, "one.test.zone", "$INCLUDE soa.inc\n")
	inner := write(t, dir, "soa.inc", text(1))
	k := NewKeeper([]string{path})
	if c := k.Refresh(false); c.Err != nil {
		t.Fatal(c.Err)
	}
	rewrite(t, inner, text(2), time.Hour)
	if k.Refresh(false); k.serial(t, "one.test.") != 2 {
		t.Error("the change was not seen")
	}
	if err := os.Remove(inner); err != nil {
		t.Fatal(err)
	}
	if c := k.Refresh(false); c.Err == nil || k.serial(t, "one.test.") != 2 {
		t.Errorf("the included file is gone: %v", c.Err)
	}
	write(t, dir, "soa.inc", text(3))
	if c := k.Refresh(false); c.Err != nil || k.serial(t, "one.test.") != 3 {
		t.Errorf("the included file is back: %v", c.Err)
	}
}

// Other patterns take effect at the next look.
func TestKeeperOtherPatterns(t *testing.T) {
	dir := t.TempDir()
	one, two := write(t, dir, "one.test.zone", text(1)), write(t, dir, "two.test.zone", text(1))
	k := NewKeeper([]string{one})
	k.Refresh(false)
	k.SetPatterns([]string{two})
	c := k.Refresh(false)
	if c.Err != nil || len(c.Removed) != 1 || k.serial(t, "one.test.") != 0 || k.serial(t, "two.test.") != 1 {
		t.Errorf("%+v", c)
	}
}

func TestKeeperMissingFile(t *testing.T) {
	k := NewKeeper([]string{filepath.Join(t.TempDir(), "none.zone"), filepath.Join(t.TempDir(), "*.zone")})
	if c := k.Refresh(false); c.Err == nil || !strings.Contains(c.Err.Error(), "none.zone\": no such file") {
		t.Errorf("error %v", c.Err)
	}
}
