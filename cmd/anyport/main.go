// Command anyport is the L4 proxy for every port.
//
// Each file holds one subcommand or one part of the daemon; main.go finds the subcommand and turns its error into a
// message, a hint and an exit status: 0 done, 1 failed, 2 called wrongly.
package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"anyport/steering"
)

const usage = `Usage: anyport COMMAND [FLAG ...]

Receive every port of anycast prefixes on one TCP and one UDP socket, and
forward each connection and flow by its original destination.

Commands:
  run       serve until SIGTERM; SIGHUP reloads         [-c FILE] [--keep-routes]
  check     check a configuration, print its table      -c FILE
  explain   tell which rule wins for a destination, why, and what the kernel
            says          ADDR:PORT[/tcp|/udp] [--from SRC] [-c FILE]
  status    show prefixes, routes, sockets and counters [--json]
  refusals  print a sample of the packets refused       [-n COUNT]
  unload    remove what a killed anyport left in the kernel
  bench     compare with TPROXY and other proxies       [SUITE] [--quick]
  version   print the version

Without -c FILE, run serves the built-in demo on 127.64.0.0/16 and fd64::/64.
"anyport COMMAND --help" tells a command's flags.

Example:
  $ sudo anyport run &
  $ curl http://127.64.1.2:4242/
  127.64.1.2:4242 reached over TCP from 127.0.0.1:53124
`

// version is set by the linker: -X main.version=...
var version = "devel"

// commands are the subcommands; each parses its own arguments.
var commands = map[string]func(args []string) error{
	"run":      runCommand,
	"check":    checkCommand,
	"explain":  explainCommand,
	"status":   statusCommand,
	"refusals": refusalsCommand,
	"unload":   unloadCommand,
	"bench":    benchCommand,
	"version":  versionCommand,
}

func main() {
	os.Exit(exitStatus(dispatch(os.Args[1:])))
}

func dispatch(args []string) error {
	if len(args) == 0 {
		fmt.Fprint(os.Stderr, usage)
		return usageError("no command given")
	}
	switch args[0] {
	case "-h", "--help", "help":
		fmt.Print(usage)
		return nil
	}
	run, ok := commands[args[0]]
	if !ok {
		return usageError(fmt.Sprintf("no command %q; \"anyport help\" lists them", args[0]))
	}
	return run(args[1:])
}

// usageError is a mistake in how anyport was called.
type usageError string

func (e usageError) Error() string { return string(e) }

// hintError is an error with advice for whoever reads it.
type hintError struct {
	error
	hint string
}

func (e hintError) Unwrap() error { return e.error }

func exitStatus(err error) int {
	if err == nil || errors.Is(err, pflag.ErrHelp) {
		return 0
	}
	for line := range strings.SplitSeq(err.Error(), "\n") {
		fmt.Fprintln(os.Stderr, "anyport: error:", line)
	}
	if hint := hintFor(err); hint != "" {
		fmt.Fprintln(os.Stderr, "anyport: hint:", hint)
	}
	var misuse usageError
	if errors.As(err, &misuse) {
		return 2
	}
	return 1
}

// hintFor returns the advice that an error carries or that belongs to its kind, or "".
func hintFor(err error) string {
	var h hintError
	if errors.As(err, &h) {
		return h.hint
	}
	var privilege *steering.PrivilegeError
	if errors.As(err, &privilege) || errors.Is(err, unix.EPERM) {
		return capabilities
	}
	return steering.Hint(err)
}

// capabilities is the advice to whoever lacks one: those of anyport.service, and what steering needs to mount bpffs.
const capabilities = "run as root, or with CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN and CAP_NET_RAW (CAP_SYS_ADMIN too if " +
	"bpffs is not mounted)"

// newFlags returns the flag set of a subcommand; synopsis is what follows its name on a command line.
func newFlags(name, synopsis string) *pflag.FlagSet {
	f := pflag.NewFlagSet(name, pflag.ContinueOnError)
	f.SortFlags = false
	f.Usage = func() {
		fmt.Printf("Usage: anyport %s %s\n\n%s", name, synopsis, f.FlagUsages())
	}
	return f
}

// parse parses args, which must leave n words beside the flags, and returns those.
func parse(f *pflag.FlagSet, args []string, n int) ([]string, error) {
	if err := f.Parse(args); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			return nil, err
		}
		return nil, usageError(fmt.Sprintf("%s: %v", f.Name(), err))
	}
	if f.NArg() != n {
		return nil, usageError(fmt.Sprintf("%s takes %d words beside its flags, not %d; see \"anyport %s --help\"",
			f.Name(), n, f.NArg(), f.Name()))
	}
	return f.Args(), nil
}

func versionCommand(args []string) error {
	if _, err := parse(newFlags("version", ""), args, 0); err != nil {
		return err
	}
	fmt.Println("anyport", version)
	return nil
}
