package tcp

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"anyport/proxy/route"
	"anyport/proxy/stats"
)

var shortUserTimeout = route.Route{UserTimeout: 400 * time.Millisecond}

// What has been sent to a peer that does not acknowledge it, or takes no more, waits for tcp_user_timeout.
var deadEndings = []ending{
	{name: "client vanishes, data on its way to it", reason: stats.ClientTimeout, route: shortUserTimeout,
		script: func(client, upstream *peer) {
			talk(client, upstream)
			client.vanish()
			upstream.send(some)
			upstream.expectRST()
		}},
	{name: "upstream vanishes, data on its way to it", reason: stats.UpstreamTimeout, route: shortUserTimeout,
		script: func(client, upstream *peer) {
			talk(client, upstream)
			upstream.vanish()
			client.send(some)
			client.expectRST()
		}},
	{name: "client never reads", reason: stats.ClientTimeout, route: shortUserTimeout,
		script: func(client, upstream *peer) {
			upstream.sendUntilStuck()
			upstream.expectRST()
		}},
	{name: "upstream never reads", reason: stats.UpstreamTimeout, route: shortUserTimeout,
		script: func(client, upstream *peer) {
			client.sendUntilStuck()
			client.expectRST()
		}},
}

func TestUserTimeout(t *testing.T) {
	for _, path := range paths[2:] { // a second each: from one family to the other will do
		for _, c := range deadEndings {
			t.Run(path.name+"/"+c.name, func(t *testing.T) {
				need(t, path.client, path.upstream)
				testClose(t, path.client, path.upstream, c, false)
			})
		}
	}
}

// A peer that is gone without a word is found out by the kernel's probes.
func TestKeepalive(t *testing.T) {
	for _, path := range paths[2:] { // four seconds each: from one family to the other will do
		t.Run(path.name, func(t *testing.T) {
			need(t, path.client, path.upstream)
			up := newServer(t, path.upstream.upstream)
			r := newRig(t, path.client, setup{route: route.Route{Keepalive: time.Second}, upstreams: addrs(up)})
			lostClient, upstream := r.dial(), up.accept()
			talk(lostClient, upstream)
			client, lostUpstream := r.dial(), up.accept()
			talk(client, lostUpstream)
			healthy, there := r.dial(), up.accept()
			lostClient.vanish()
			lostUpstream.vanish()
			upstream.expectRST()
			client.expectRST()
			r.awaitEnded(stats.ClientTimeout, 1)
			r.awaitEnded(stats.UpstreamTimeout, 1)
			talk(healthy, there)
		})
	}
}

// vanish makes a peer silent for good, as if its host had lost its power: no packet reaches its socket any more.
func (p *peer) vanish() {
	p.t.Helper()
	drop := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 0}
	p.fd(func(fd int) {
		program := unix.SockFprog{Len: 1, Filter: &drop}
		if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &program); err != nil {
			p.t.Error(err)
		}
	})
}
