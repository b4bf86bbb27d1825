package steering

import (
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"
)

// Where IPv6 is switched off, the error says so instead of asking for a privilege, and IPv4 prefixes get their routes.
func TestLocalRoutesWithoutIPv6(t *testing.T) {
	w := newWorld(t)
	if err := w.ns.Sysctl("net.ipv6.conf.lo.disable_ipv6", "1"); err != nil {
		t.Fatal(err)
	}
	r := openRoutes(w, LocalRouteOptions{})
	err := r.Sync([]netip.Prefix{prefix6, prefix4})
	if err == nil || errors.Is(err, os.ErrPermission) || !strings.Contains(Hint(err), "disable_ipv6") {
		t.Errorf("Sync: %v, hint %q", err, Hint(err))
	}
	missing, err := r.Missing([]netip.Prefix{prefix6, prefix4})
	if err != nil || len(missing) != 1 || missing[0] != prefix6 {
		t.Errorf("missing %v, %v, want %s", missing, err, prefix6)
	}
}
