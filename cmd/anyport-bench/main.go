// Command anyport-bench measures what steering costs, side by side with the ways it replaces. `anyport bench` runs it.
//
// It is a program of its own so that what draws its reports stays out of the daemon.
package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"strings"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"anyport/bench"
)

const usage = `Usage: anyport-bench [SUITE] [--quick] [--out DIR] [--seed N]

Compare anyport with what it replaces, side by side in network namespaces that
are made for it and removed again. Needs root.

Suites:
  steer  the receive path: a plain socket, sk_lookup, TPROXY (the default)
  dns    name servers: anyport on a /20, NSD, Knot, BIND, PowerDNS

Flags:
%s
Example:
  $ sudo anyport-bench steer --quick --out results
`

// version is set by the linker: -X main.version=...
var version = "devel"

type options struct {
	quick bool
	out   string
	seed  uint64
}

func main() { os.Exit(run(os.Args[1:])) }

// run returns the exit status: 0 done, 1 failed, 2 called wrongly.
func run(args []string) int {
	if len(args) > 2 && args[0] == bench.StockDNS { // a server that the dns suite starts
		return exit(bench.ServeStockDNS(args[1], args[2:]))
	}
	var o options
	f := pflag.NewFlagSet("anyport-bench", pflag.ContinueOnError)
	f.SortFlags = false
	f.BoolVar(&o.quick, "quick", false, "IPv4 only, about a minute at most")
	f.StringVar(&o.out, "out", "", "folder to write SUITE.json to, the result with every sample")
	f.Uint64Var(&o.seed, "seed", rand.Uint64(), "seed of the random orders and addresses")
	f.Lookup("seed").DefValue = "random"
	f.Usage = func() { fmt.Printf(usage, f.FlagUsages()) }
	if err := f.Parse(args); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			return 0
		}
		return misuse(err.Error())
	}
	suites := map[string]func(context.Context, options) (*bench.Result, error){"": steer, "steer": steer, "dns": dns}
	suite, known := suites[f.Arg(0)]
	if f.NArg() > 1 || !known {
		return misuse("no such suite: " + strings.Join(f.Args(), " "))
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	result, err := suite(ctx, o)
	if err == nil {
		err = report(result, o.out)
	}
	return exit(err)
}

func exit(err error) int {
	if err != nil {
		fmt.Fprintln(os.Stderr, "anyport-bench: error:", err)
		return 1
	}
	return 0
}

func misuse(what string) int {
	fmt.Fprintf(os.Stderr, "anyport-bench: error: %s\nanyport-bench: hint: anyport-bench --help tells how it is called\n", what)
	return 2
}

func steer(ctx context.Context, o options) (*bench.Result, error) {
	return bench.Steer(ctx, bench.SteerOptions{
		Quick: o.quick, Seed: o.seed, Version: version, Command: os.Args,
		Progress: bench.NewProgress(os.Stderr, isTerminal(os.Stderr)),
	})
}

func dns(ctx context.Context, o options) (*bench.Result, error) {
	return bench.DNS(ctx, bench.DNSOptions{
		Quick: o.quick, Seed: o.seed, Version: version, Command: os.Args,
		Progress: bench.NewProgress(os.Stderr, isTerminal(os.Stderr)),
	})
}

// report prints the result and, if out is a folder, writes it there.
func report(result *bench.Result, out string) error {
	if err := result.WriteTable(os.Stdout); err != nil {
		return err
	}
	if out == "" {
		return nil
	}
	path, err := result.Write(out)
	if err != nil {
		return err
	}
	fmt.Printf("\nwritten to %s\n", path)
	return nil
}

// isTerminal reports whether f is a terminal: only those have a terminal's attributes (tcgetattr(3)).
func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
