package e2e

import "testing"

// TestSysctls sets, one after the other, the kernel parameters that break TPROXY set-ups, and more: anyport must not
// care.
func TestSysctls(t *testing.T) {
	for _, settings := range []map[string]string{
		{"net.ipv4.conf.all.src_valid_mark": "1", "net.ipv4.conf.all.rp_filter": "1", "net.ipv4.conf.default.rp_filter": "1",
			"net.ipv4.conf.client0.rp_filter": "1", "net.ipv4.conf.upstream0.rp_filter": "1"},
		{"net.ipv4.tcp_syncookies": "2"}, // cookies for every connection
		{"net.ipv4.ip_forward": "1", "net.ipv6.conf.all.forwarding": "1"},
		{"net.ipv4.tcp_tw_reuse": "0", "net.ipv4.tcp_timestamps": "0"},
	} {
		w := newWorld(t)
		for key, value := range settings {
			w.must(w.Proxy.Sysctl(key, value))
		}
		w.upstreams(7000, echoAs("upstream"))
		w.run(prefixes + "[[route]]\nupstream = [\"10.2.0.2:7000\"]\n")
		for _, f := range families {
			for range 20 {
				checkGreeting(t, w, f.destination(w.rng), "upstream")
			}
		}
		if t.Failed() {
			t.Fatalf("with %v", settings)
		}
	}
}
