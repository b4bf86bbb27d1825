package main

import (
	"fmt"
	"os"

	"anyport/conf"
)

func checkCommand(args []string) error {
	f := newFlags("check", "-c FILE")
	file := f.StringP("config", "c", "", "configuration file to check")
	if _, err := parse(f, args, 0); err != nil {
		return err
	}
	if *file == "" {
		return usageError("check needs a file: -c FILE")
	}
	host, err := hostFacts()
	if err != nil {
		return err
	}
	cfg, err := conf.Load(*file, host)
	if err != nil {
		return err
	}
	for _, w := range cfg.Warnings {
		fmt.Fprintln(os.Stderr, "anyport: warning:", w.Error())
	}
	return cfg.WriteTable(os.Stdout)
}
