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
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"anyport/bench"
	"anyport/bench/report"
)

const usage = `Usage: anyport-bench [SUITE] [--quick] [--out DIR] [--seed N]

Compare anyport with what it replaces, side by side in network namespaces that
are made for it and removed again. Needs root.

Suites:
%s
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
	if helper, ok := bench.Helper(args); ok {
		return exit(helper())
	}
	var o options
	f := o.flags()
	if err := f.Parse(args); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			return 0
		}
		return misuse(err.Error())
	}
	suites, known := chosen(f.Args())
	if !known {
		return misuse("no such suite: " + strings.Join(f.Args(), " "))
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	return exit(measure(ctx, suites, o))
}

func (o *options) flags() *pflag.FlagSet {
	f := pflag.NewFlagSet("anyport-bench", pflag.ContinueOnError)
	f.SortFlags = false
	f.BoolVar(&o.quick, "quick", false, "at most 40 s a suite")
	f.StringVar(&o.out, "out", "", "folder for SUITE.json, with every sample, and SUITE.html, with plots")
	f.Uint64Var(&o.seed, "seed", rand.Uint64(), "seed of the random orders and addresses")
	f.Lookup("seed").DefValue = "random"
	f.Usage = func() { fmt.Printf(usage, suitesUsage(), f.FlagUsages()) }
	return f
}

// all is the name of every suite, one after the other.
const all = "all"

func suitesUsage() string {
	var b strings.Builder
	for i, s := range bench.Suites {
		fmt.Fprintf(&b, "  %-6s %s", s.Name, s.About)
		if i == 0 {
			b.WriteString(" (the default)")
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, "  %-6s all of them, one after the other\n", all)
	return b.String()
}

// chosen returns the suites that the arguments name: the first one if there is none.
func chosen(args []string) (suites []bench.Suite, known bool) {
	switch {
	case len(args) == 0:
		return bench.Suites[:1], true
	case len(args) == 1 && args[0] == all:
		return bench.Suites, true
	case len(args) == 1:
		s, known := bench.FindSuite(args[0])
		if known {
			return []bench.Suite{*s}, true
		}
	}
	return nil, false
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

// measure runs the suites and shows each when it is done. One that fails does not keep the others from running, a done
// ctx does.
func measure(ctx context.Context, suites []bench.Suite, o options) error {
	progress := bench.NewProgress(os.Stderr, terminalWidth(os.Stderr))
	var done []*bench.Result
	var failed []error
	for i := range suites {
		if ctx.Err() != nil {
			break
		}
		progress.Suite(suites[i].Name, i+1, len(suites))
		result, err := suites[i].Run(ctx, bench.Options{
			Quick: o.quick, Seed: o.seed, Version: version, Command: commandLine(), Progress: progress,
		})
		if err == nil {
			done = append(done, result)
			err = show(result, o.out)
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("suite %s: %w", suites[i].Name, err))
		}
	}
	if len(suites) > 1 && len(done) > 0 && o.out != "" {
		failed = append(failed, written(report.WriteFile(o.out, "report.html", done...)))
	}
	return errors.Join(failed...)
}

// commandLine is how this program was called, without the folder that it lies in.
func commandLine() []string {
	return append([]string{filepath.Base(os.Args[0])}, os.Args[1:]...)
}

// show prints the result and, if out is a folder, writes it there.
func show(result *bench.Result, out string) error {
	if err := result.WriteTable(os.Stdout); err != nil {
		return err
	}
	if out == "" {
		return nil
	}
	fmt.Println()
	if err := written(result.Write(out)); err != nil {
		return err
	}
	return written(report.WriteFile(out, result.Suite+".html", result))
}

// written tells of a file that was written, if err is nil.
func written(path string, err error) error {
	if err == nil {
		fmt.Println("written to", path)
	}
	return err
}

// terminalWidth returns how many columns f has, or 0 if it is no terminal (TIOCGWINSZ, tty_ioctl(4)).
func terminalWidth(f *os.File) int {
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0
	}
	return int(size.Col)
}
