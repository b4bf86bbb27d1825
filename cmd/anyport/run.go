package main

import (
	"os"
	"os/signal"

	"golang.org/x/sys/unix"

	"anyport/proxy/upstream"
	"anyport/steering"
)

// runOptions are the flags of run, and what tests put in the place of the host's own.
type runOptions struct {
	file       string // "": the embedded default
	bpffs      string
	keepRoutes bool
	resolver   upstream.Resolver
}

func runCommand(args []string) error {
	var o runOptions
	f := newFlags("run", "[-c FILE] [--keep-routes] [--bpffs DIR]")
	f.StringVarP(&o.file, "config", "c", "", "configuration file; without it the built-in demo is served")
	f.StringVar(&o.bpffs, "bpffs", steering.DefaultBpffs, "where the BPF file system is, or is to be mounted")
	f.BoolVar(&o.keepRoutes, "keep-routes", false,
		"leave the local routes and the program when stopping: the prefixes stay routed here, and are refused")
	if _, err := parse(f, args, 0); err != nil {
		return err
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT, unix.SIGHUP)
	defer signal.Stop(signals)
	return newDaemon(o, newLogger()).run(signals)
}
