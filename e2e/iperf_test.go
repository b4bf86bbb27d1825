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

// TestIperf3UDP moves datagrams each way, and both ways at once, from a client port that stays the same, so that every run
// has the addresses and ports of the one before. Once the kernel forwards them, and once the sockets do.
func TestIperf3UDP(t *testing.T) {
	netlab.RequireProgram(t, "iperf3")
	for _, offload := range []string{"off", "auto"} {
		w := newWorld(t)
		server, err := w.Upstream.Start("iperf3", "--server", "--port", "5201")
		w.must(err)
		w.waitListening(w.Upstream, server, "10.2.0.2:5201")
		w.run(prefixes + fmt.Sprintf("[[route]]\nname = \"v4\"\nprefix = [\"198.18.0.0/20\"]\nupstream = [\"10.2.0.2:5201\"]\noffload = %[1]q\n"+
			"[[route]]\nname = \"v6\"\nprefix = [\"2001:db8::/48\"]\nupstream = [\"[fd00:2::2]:5201\"]\noffload = %[1]q\n", offload))
		for _, f := range families {
			for _, direction := range [][]string{nil, {"--reverse"}, {"--bidir"}} {
				t.Run(fmt.Sprint("offload ", offload, "/", f.name, "/", direction), func(t *testing.T) { checkIperfUDP(t, w, f, direction) })
			}
		}
	}
}

// checkIperfUDP wants nearly all of 2 MB, at a rate at which even a busy machine loses little.
func checkIperfUDP(t *testing.T, w *world, f family, direction []string) {
	to := f.address(w.rng)
	args := append([]string{"--client", to.String(), "--port", "443", "--cport", "4000", "--udp", "--length", "1200",
		"--bitrate", "20M", "--bytes", "2M", "--json"}, direction...)
	out, errs, status := runShort(t, w.Client.Command("iperf3", args...))
	type sum struct {
		Packets int
		Lost    int `json:"lost_packets"`
	}
	var report struct {
		Error string
		End   struct {
			Sum     sum
			Reverse *sum `json:"sum_bidir_reverse"`
		}
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil || status != 0 || report.Error != "" {
		t.Fatalf("iperf3 to %s ended with %d, printed %.2000q %q: %v", to, status, out, errs, err)
	}
	sums := []sum{report.End.Sum}
	if report.End.Reverse != nil {
		sums = append(sums, *report.End.Reverse)
	}
	for _, s := range sums {
		if s.Packets < 1000 || s.Lost > s.Packets/10 {
			t.Errorf("%d of %d datagrams were lost", s.Lost, s.Packets)
		}
	}
}
