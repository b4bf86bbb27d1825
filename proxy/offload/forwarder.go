package offload

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sync/errgroup"
)

// Options say where a Forwarder is.
type Options struct {
	Dir      string // in a bpffs, for pins; it is made where it is missing
	MaxFlows int    // at once
	Logger   *slog.Logger
}

// Forwarder has the kernel forward the flows of a Table: it keeps the program on the network namespace's devices, and
// forwarding on only while it passes nothing by that packets would have met on their way through the sockets. Its methods
// are to be called in that namespace.
type Forwarder struct {
	table   *Table
	dir     string
	logger  *slog.Logger
	program *ebpf.Program
	links   *Links // nil where the kernel has no tcx
	changes *changes

	mu      sync.Mutex // guards the fields below
	why     string     // forwarding is off; "": it is on
	devices error      // that have not got the program
}

// hookName is what the pins of links begin with; those of maps do not.
const hookName = "forward"

// Open opens or makes the table in o.Dir and puts the program onto the devices. Flows that a process before this one has
// left are forwarded on, and wait for [Table.Adopt]. Where forwarding cannot be, Status says why. The caller calls Close
// or Unload.
func Open(o Options) (*Forwarder, error) {
	table, err := OpenTable(o.Dir, o.MaxFlows)
	if err != nil {
		return nil, err
	}
	f := &Forwarder{table: table, dir: o.Dir, logger: o.Logger, why: "it has not begun"}
	if f.changes, err = openChanges(); err == nil {
		err = f.attach()
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	f.check()
	return f, nil
}

func (f *Forwarder) attach() (err error) {
	if f.program, err = f.table.maps.loadProgram(); err != nil {
		return err
	}
	links, err := OpenLinks(Hook{Name: hookName, Program: f.program, Direction: Ingress, Way: TCX, PinDir: f.dir})
	if errors.Is(err, ebpf.ErrNotSupported) {
		if links != nil {
			err = links.Detach()
		}
		return err
	}
	if links == nil {
		return err
	}
	f.links = links
	f.noteDevices(err)
	return nil
}

func (f *Forwarder) noteDevices(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil && f.devices == nil {
		f.logger.Warn("some devices have not got the offload program: their packets go through the sockets", "error", err)
	}
	f.devices = err
}

// Table returns the flows.
func (f *Forwarder) Table() *Table { return f.table }

// checkInterval is how long new rules of a packet filter may be passed by.
const checkInterval = 2 * time.Second

// Run follows devices and routes and looks for what forms an obstacle to forwarding, until ctx ends. Run it once.
func (f *Forwarder) Run(ctx context.Context) error {
	var parts errgroup.Group
	if f.links != nil {
		parts.Go(func() error { return f.links.Watch(ctx, f.noteDevices) })
	}
	parts.Go(func() error { return f.changes.watch(ctx, &f.table.maps.meta.Changes) })
	parts.Go(func() error { f.checkLoop(ctx); return nil })
	return parts.Wait()
}

func (f *Forwarder) checkLoop(ctx context.Context) {
	tick := time.NewTicker(checkInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			f.check()
		}
	}
}

// check switches forwarding on or off.
func (f *Forwarder) check() {
	why, err := f.obstacle()
	if err != nil {
		why = err.Error()
	}
	atomic.StoreUint32(&f.table.maps.meta.On, boolean(why == ""))
	f.table.Accept(why == "")
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case why == f.why:
	case why == "":
		f.logger.Info("the kernel forwards UDP flows")
	default:
		f.logger.Warn("the kernel does not forward UDP flows: they go through the sockets", "reason", why)
	}
	f.why = why
}

func boolean(b bool) uint32 {
	if b {
		return 1
	}
	return 0
}

// obstacle returns why there can be no forwarding, or "".
func (f *Forwarder) obstacle() (string, error) {
	if f.links == nil {
		return "the kernel has no tcx, which came with Linux 6.6", nil
	}
	if why, err := bypassed(detourOfFlows); why != "" || err != nil {
		return why, err
	}
	return "", f.table.maps.switchOn()
}

// Status is what an operator wants to know.
type Status struct {
	On       bool   `json:"on"`
	Why      string `json:"why,omitempty"` // it is off
	Flows    int    `json:"flows"`
	Capacity int    `json:"capacity"`
	Devices  int    `json:"devices"`           // that have the program
	Missing  string `json:"missing,omitempty"` // devices that have not got it
}

// Status returns what is so now.
func (f *Forwarder) Status() Status {
	f.mu.Lock()
	s := Status{On: f.why == "", Why: f.why}
	if f.devices != nil {
		s.Missing = f.devices.Error()
	}
	f.mu.Unlock()
	s.Flows, s.Capacity = f.table.Len(), f.table.Cap()
	if f.links != nil {
		s.Devices = len(f.links.Attached())
	}
	return s
}

// Close lets go of everything; the kernel goes on as it does. Run has returned.
func (f *Forwarder) Close() error {
	var errs []error
	if f.links != nil {
		errs = append(errs, f.links.Leave())
	}
	return errors.Join(append(errs, f.release())...)
}

func (f *Forwarder) release() error {
	var err error
	if f.changes != nil {
		f.changes.close()
	}
	if f.program != nil {
		err = f.program.Close()
	}
	return errors.Join(err, f.table.Close())
}

// Unload ends forwarding, removes the pins and closes f. Run has returned.
func (f *Forwarder) Unload() error {
	var errs []error
	if f.links != nil {
		errs = append(errs, f.links.Detach())
	}
	errs = append(errs, f.table.maps.switchBack(), f.release())
	if err := os.RemoveAll(f.dir); err != nil {
		errs = append(errs, fmt.Errorf("remove pins: %w", err))
	}
	return errors.Join(errs...)
}

// Unload ends the forwarding that a process has left in dir, if there is any.
func Unload(dir string) error {
	m := &flowMaps{byName: make(map[string]*ebpf.Map)}
	var errs []error
	if err := m.open(dir); err == nil {
		errs = append(errs, m.switchBack())
	}
	errs = append(errs, m.close())
	if err := os.RemoveAll(dir); err != nil { // the links' pins with it, and so the links
		errs = append(errs, fmt.Errorf("remove pins: %w", err))
	}
	return errors.Join(errs...)
}
