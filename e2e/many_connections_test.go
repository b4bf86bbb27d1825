package e2e

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"

	"anyport/bench/netlab"
)

// TestTenThousandConnections opens 10,000 connections to random ports of random addresses of both families and checks
// every byte, and that the upstream is told the destination that was dialled.
func TestTenThousandConnections(t *testing.T) {
	w := newWorld(t)
	w.upstreams(7000, echoDestination)
	w.run(prefixes + `
[[route]]
name = "v4"
prefix = ["198.18.0.0/20"]
upstream = ["10.2.0.2:7000"]
proxy_protocol = "v2"
[[route]]
name = "v6"
prefix = ["2001:db8::/48"]
upstream = ["[fd00:2::2]:7000"]
proxy_protocol = "v2"
`)
	const workers, each = 20, 500
	var group sync.WaitGroup
	errs := make([]error, workers)
	for i := range workers {
		seed := w.rng.Uint64()
		group.Go(func() { errs[i] = manyEchoes(w.Client, rand.New(rand.NewPCG(seed, 0)), each) })
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
}

// manyEchoes makes n connections, one after the other, with 0 to 16 KiB each, and stops at the first fault.
func manyEchoes(ns *netlab.Namespace, rng *rand.Rand, n int) error {
	payload := make([]byte, 16<<10)
	for i := range payload {
		payload[i] = byte(rng.Uint32())
	}
	return ns.Do(func() error {
		for i := range n {
			to := families[i%2].destination(rng)
			from := rng.IntN(len(payload))
			if err := tryEchoHere(to, greetingOf(to), payload[from:]); err != nil {
				return fmt.Errorf("connection %d: %w", i, err)
			}
		}
		return nil
	})
}

// greetingOf is what echoDestination says first.
func greetingOf(to netip.AddrPort) string { return to.String() + "\n" }
