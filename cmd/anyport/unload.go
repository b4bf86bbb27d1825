package main

import (
	"errors"
	"fmt"

	"anyport/proxy/offload"
	"anyport/steering"
)

// unloadCommand removes what a daemon that was killed, or that ran with --keep-routes, has left: local and return
// routes, the program, reserved ports and the control socket.
func unloadCommand(args []string) error {
	f := newFlags("unload", "")
	bpffs := f.String("bpffs", steering.DefaultBpffs, "where the BPF file system is")
	if _, err := parse(f, args, 0); err != nil {
		return err
	}
	var d daemonStatus
	switch err := askDaemon("status", &d); {
	case err == nil:
		return hintError{fmt.Errorf("anyport is running, with pid %d", d.PID), "stop it by SIGTERM; it unloads by itself"}
	case !errors.Is(err, errNoDaemon):
		return err
	}
	path, err := controlPath()
	if err != nil {
		return err
	}
	if err := removeDeadControl(path); err != nil {
		return err
	}
	local, err := steering.OpenLocalRoutes(steering.LocalRouteOptions{})
	if err != nil {
		return err
	}
	defer local.Close()
	if err := local.Remove(); err != nil { // first: a local prefix without the program is open to every daemon
		return err
	}
	if err := removeReturnPaths(); err != nil {
		return err
	}
	reserved, err := openReservedPorts()
	if err != nil {
		return err
	}
	if err := reserved.set(nil); err != nil {
		return err
	}
	dir, err := offloadDir(*bpffs)
	if err != nil {
		return err
	}
	if err := offload.Unload(dir); err != nil {
		return err
	}
	return steering.Unload(steering.Options{Bpffs: *bpffs})
}

// removeReturnPaths removes the policy rules of routes with source = "client".
func removeReturnPaths() error {
	returns, err := steering.OpenReturnPaths("")
	if err != nil {
		return err
	}
	return errors.Join(returns.Remove(), returns.Close())
}
