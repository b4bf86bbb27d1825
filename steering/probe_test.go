package steering

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"anyport/bench/netlab"
)

// TestProbe finds everything on this kernel, and leaves no descriptor behind.
func TestProbe(t *testing.T) {
	netlab.RequireRoot(t)
	checkLeaks(t)
	if err := Probe(); err != nil {
		t.Fatal(err)
	}
}

// TestProbeMissing checks what is said of a feature that cannot be had.
func TestProbeMissing(t *testing.T) {
	has := feature{"wheels", "2.0", func() error { return nil }}
	for name, c := range map[string]struct {
		err         error
		unsupported bool
		privilege   bool
	}{
		"not supported": {fmt.Errorf("probe: %w", ebpf.ErrNotSupported), true, false},
		"no bpf at all": {unix.ENOSYS, true, false},
		"no privilege":  {unix.EPERM, false, true},
		"other":         {unix.ENOMEM, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			err := probe([]feature{has, {"wings", "9.9", func() error { return c.err }}, has})
			var missing *UnsupportedError
			if errors.As(err, &missing) != c.unsupported || errors.Is(err, ebpf.ErrNotSupported) != c.unsupported {
				t.Errorf("error %v", err)
			}
			if c.unsupported && (missing.Feature != "wings" || missing.Least != "9.9" || Hint(err) == "") {
				t.Errorf("error %+v", missing)
			}
			if errors.Is(err, os.ErrPermission) != c.privilege || c.privilege && Hint(err) == "" {
				t.Errorf("error %v", err)
			}
			if err == nil || !c.unsupported && !errors.Is(err, c.err) {
				t.Errorf("error %v does not wrap %v", err, c.err)
			}
		})
	}
}
