package main

import (
	"errors"
	"fmt"
	"os"

	"anyport/conf"
	"anyport/proxy/dns/zone"
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
	if err := checkZones(cfg); err != nil {
		return err
	}
	return cfg.WriteTable(os.Stdout)
}

// checkZones reads all zone files, prints what they warn of, and returns what is wrong with them, each fault with its
// file and line.
func checkZones(cfg *conf.Config) error {
	var errs []error
	for _, s := range cfg.DNS {
		change := zone.NewKeeper(s.Zones).Refresh(false)
		for _, l := range change.Loaded {
			for _, w := range l.Zone.Warnings {
				fmt.Fprintln(os.Stderr, "anyport: warning:", w.Error())
			}
		}
		errs = append(errs, change.Err)
		if len(change.Loaded) == 0 && change.Err == nil {
			errs = append(errs, fmt.Errorf("DNS server %s: no zone file matches %q", s.Name, s.Zones))
		}
	}
	return errors.Join(errs...)
}
