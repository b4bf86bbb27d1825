package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"anyport/bench/netlab"
)

// reloadConfig sends port 4000 to the upstream's given port and everything else to port 7000.
func reloadConfig(port uint16) string {
	return fmt.Sprintf(prefixes+`
[[route]]
name = "moving"
ports = "4000"
upstream = ["10.2.0.2:%d"]
[[route]]
name = "rest"
upstream = ["10.2.0.2:7000"]
`, port)
}

// TestReloadUnderLoad changes the routes by SIGHUP ten times while connections and datagrams go on: none may fail, a
// connection that is open stays where it is, and new ones follow the new routes.
func TestReloadUnderLoad(t *testing.T) {
	w := newWorld(t)
	w.upstreams(7000, echoAs("rest"))
	w.upstreams(7001, echoAs("one"))
	w.upstreams(7002, echoAs("two"))
	d := w.run(reloadConfig(7001))
	moving := netip.MustParseAddrPort("198.18.3.3:4000")
	old, err := dial(w.Client, moving)
	w.must(err)
	defer old.Close()
	w.must(expectGreeting(old, "one\n")) // by now it has its upstream

	var load load
	load.start(w)
	for i := range 10 {
		port, name := uint16(7002), "two\n"
		if i%2 == 1 {
			port, name = 7001, "one\n"
		}
		before := load.rounds.Load()
		d.reload(reloadConfig(port))
		waitFor(t, "port 4000 to lead to "+name, func() bool { return tryEcho(w.Client, moving, name, nil) == nil })
		waitFor(t, "the load to go on", func() bool { return load.rounds.Load() > before+20 })
	}
	if err := load.end(); err != nil {
		t.Error(err)
	}
	if got, err := exchange(old, []byte("hello")); err != nil || string(got) != "hello" {
		t.Errorf("the connection from before the reloads read %q, %v", got, err)
	}
}

// TestBadReloadChangesNothing reloads a file with two faults: anyport names both with their lines and goes on.
func TestBadReloadChangesNothing(t *testing.T) {
	w := newWorld(t)
	w.upstreams(7000, echoAs("rest"))
	w.upstreams(7001, echoAs("one"))
	d := w.run(reloadConfig(7001))
	d.reload(strings.Replace(reloadConfig(7002), "ports = \"4000\"", "ports = \"0\"\nprots = \"all\"", 1))
	for _, want := range []string{"anyport.toml:5", "anyport.toml:6", "prots"} {
		waitFor(t, fmt.Sprintf("the log to say %q", want), func() bool { return strings.Contains(d.Output(), want) })
	}
	for _, f := range families {
		checkGreeting(t, w, withPort(f.address(w.rng), 4000), "one")
	}
	d.reload(reloadConfig(7000))
	waitFor(t, "a good file to be taken after a bad one", func() bool {
		return tryEcho(w.Client, netip.MustParseAddrPort("198.18.3.3:4000"), "rest\n", nil) == nil
	})
}

// load is traffic that goes on while something else happens: short connections, one long connection and UDP flows.
type load struct {
	rounds  atomic.Int64 // rounds done by all of its workers
	stop    chan struct{}
	results []chan error
}

// worker does rounds from a namespace until the load ends, or something goes wrong.
type worker func(*netlab.Namespace, family, *rand.Rand) error

func (l *load) start(w *world) { l.startWorkers(w, l.shortConnections, l.longConnection, l.datagrams) }

// startWorkers starts some workers for each family.
func (l *load) startWorkers(w *world, workers ...worker) {
	l.stop = make(chan struct{})
	for _, f := range families {
		for _, worker := range workers {
			result, rng := make(chan error, 1), rand.New(rand.NewPCG(w.rng.Uint64(), 0))
			l.results = append(l.results, result)
			go func() { result <- worker(w.Client, f, rng) }()
		}
	}
}

// end stops the load and returns what went wrong.
func (l *load) end() error {
	close(l.stop)
	var errs []error
	for _, r := range l.results {
		errs = append(errs, <-r)
	}
	return errors.Join(errs...)
}

func (l *load) going() bool {
	select {
	case <-l.stop:
		return false
	default:
		l.rounds.Add(1)
		return true
	}
}

// steady returns a destination that every configuration of the test sends to the upstream "rest".
func steady(f family, rng *rand.Rand) netip.AddrPort {
	return netip.AddrPortFrom(f.address(rng), uint16(5000+rng.IntN(60000)))
}

func (l *load) shortConnections(ns *netlab.Namespace, f family, rng *rand.Rand) error {
	return ns.Do(func() error {
		for l.going() {
			if err := tryEchoHere(steady(f, rng), "rest\n", []byte("hello")); err != nil {
				return err
			}
		}
		return nil
	})
}

func (l *load) longConnection(ns *netlab.Namespace, f family, rng *rand.Rand) error {
	c, err := dial(ns, steady(f, rng))
	if err != nil {
		return err
	}
	defer c.Close()
	if err := expectGreeting(c, "rest\n"); err != nil {
		return err
	}
	got := make([]byte, 1000)
	for want := bytes.Repeat([]byte("0123456789"), 100); l.going(); {
		if err := pingPong(c, want, got); err != nil {
			return fmt.Errorf("long connection to %s: %w", c.RemoteAddr(), err)
		}
	}
	return nil
}

func (l *load) datagrams(ns *netlab.Namespace, f family, rng *rand.Rand) error {
	c, err := packetConn(ns)
	if err != nil {
		return err
	}
	defer c.Close()
	for l.going() {
		if err := tryPacket(c, steady(f, rng), []byte("hello")); err != nil {
			return err
		}
	}
	return nil
}
