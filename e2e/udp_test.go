package e2e

import (
	"fmt"
	"net/netip"
	"testing"
)

// TestDatagramsOfEverySize echoes datagrams of 0 to 65,507 bytes, those beyond the MTU as fragments, by random ports of
// random addresses, over each pair of client and upstream family. A daemon holds the wildcard address of some of the
// same ports.
func TestDatagramsOfEverySize(t *testing.T) {
	w := newWorld(t)
	w.upstreams(9000, echo)
	w.wildcardDaemons("bystander", 53, 4000)
	w.run(prefixes + `
[[route]]
name = "to-v4"
ports = "1-32767"
upstream = ["10.2.0.2:9000"]
[[route]]
name = "to-v6"
ports = "32768-65535"
upstream = ["[fd00:2::2]:9000"]
`)
	sizes := []int{0, 1, 2, 100, 511, 512, 1231, 1232, 1452, 1453, 1472, 1473, 2000, 4096, 8000, 16384, 32768, 65506, 65507}
	for _, f := range families {
		for _, ports := range []struct{ name, base string }{{"upstream v4", "0"}, {"upstream v6", "32768"}} {
			t.Run(f.name+" client, "+ports.name, func(t *testing.T) {
				for _, size := range sizes {
					to := f.destination(w.rng)
					port := to.Port()&0x7fff | 1
					if ports.base != "0" {
						port |= 0x8000
					}
					checkDatagram(t, w, netip.AddrPortFrom(to.Addr(), port), size)
				}
			})
		}
		for _, port := range []uint16{53, 4000} {
			checkDatagram(t, w, withPort(f.address(w.rng), port), 100)
		}
	}
}

func checkDatagram(t *testing.T, w *world, to netip.AddrPort, size int) {
	t.Helper()
	c, err := packetConn(w.Client)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	payload := make([]byte, size)
	for i := range payload {
		payload[i] = byte(w.rng.Uint32())
	}
	if err := tryPacket(c, to, payload); err != nil {
		t.Error(err)
	}
}

// TestFlowsKeepApart sends from one socket to many destinations, and from many sockets to one, and checks that each
// reply comes to the socket and from the address that it belongs to.
func TestFlowsKeepApart(t *testing.T) {
	w := newWorld(t)
	w.upstreams(9000, echo)
	w.run(prefixes + "[[route]]\nupstream = [\"10.2.0.2:9000\"]\n")
	for _, f := range families {
		one, err := packetConn(w.Client)
		w.must(err)
		defer one.Close()
		same := f.destination(w.rng)
		for i := range 200 {
			if err := tryPacket(one, f.destination(w.rng), fmt.Appendf(nil, "one socket %d", i)); err != nil {
				t.Fatal(err)
			}
			c, err := packetConn(w.Client)
			w.must(err)
			defer c.Close()
			if err := tryPacket(c, same, fmt.Appendf(nil, "one destination %d", i)); err != nil {
				t.Fatal(err)
			}
		}
	}
}
