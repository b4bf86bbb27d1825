package e2e

import (
	"encoding/json"
	"fmt"
	"testing"

	"anyport/bench/netlab"
)

// TestIperf3BothDirections moves 64 MiB each way and family by iperf3, which uses a control and a data connection on
// one port.
func TestIperf3BothDirections(t *testing.T) {
	netlab.RequireRoot(t)
	netlab.RequireProgram(t, "iperf3")
	w := newWorld(t)
	server, err := w.Upstream.Start("iperf3", "--server", "--port", "5201")
	w.must(err)
	w.waitListening(w.Upstream, server, "10.2.0.2:5201")
	w.run(prefixes + `
[[route]]
upstream = ["10.2.0.2:5201"]
`)
	for _, f := range families {
		for _, direction := range []string{"upload", "download"} {
			t.Run(f.name+"/"+direction, func(t *testing.T) { checkIperf(t, w, f, direction == "download") })
		}
	}
}

func checkIperf(t *testing.T, w *world, f family, reverse bool) {
	const size = 64 << 20
	to := f.destination(w.rng)
	args := []string{"--client", to.Addr().String(), "--port", fmt.Sprint(to.Port()), "--bytes", fmt.Sprint(size), "--json"}
	if reverse {
		args = append(args, "--reverse")
	}
	out, errs, status := runShort(t, w.Client.Command("iperf3", args...))
	var report struct {
		Error string
		End   struct {
			Received struct{ Bytes int64 } `json:"sum_received"`
		}
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatalf("iperf3 ended with %d, printed %q %q: %v", status, out, errs, err)
	}
	// iperf3 stops counting when the sender is done, so that a last bit may be missing or one block too many.
	if status != 0 || report.Error != "" || report.End.Received.Bytes < size/2 {
		t.Errorf("iperf3 to %s ended with %d, received %d bytes: %s", to, status, report.End.Received.Bytes, report.Error)
	}
}
