package offload

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// Links keeps a hook on every device of a network namespace, lo included, as devices come and go. Its methods are safe
// for concurrent use, but are to be called in that namespace.
type Links struct {
	hook   Hook
	events *nl.NetlinkSocket

	mu       sync.Mutex // guards the field below
	attached map[int]Attachment
}

// LinkError is a device that has not got the program.
type LinkError struct {
	Device int
	Name   string
	Err    error
}

func (e *LinkError) Error() string { return fmt.Sprintf("device %s: %v", e.Name, e.Err) }

// Unwrap returns the cause.
func (e *LinkError) Unwrap() error { return e.Err }

// OpenLinks puts a hook onto every device that there is. A device that will not take it is part of the error, as a
// *LinkError, and the Links are good for the others; without Links the error says why there are none. The caller calls
// Detach or Leave.
func OpenLinks(h Hook) (*Links, error) {
	// First the events, then the devices: what comes in between is seen twice, and not missed.
	events, err := nl.Subscribe(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK, unix.RTNLGRP_TC)
	if err != nil {
		return nil, fmt.Errorf("watch devices: %w", err)
	}
	l := &Links{hook: h, events: events, attached: make(map[int]Attachment)}
	return l, l.sync()
}

// Watch follows devices until ctx ends, when it returns nil. It calls report after every change of a device, with the
// error, if any, of attaching to those that have not got the program. Run it once.
func (l *Links) Watch(ctx context.Context, report func(error)) error {
	stop := context.AfterFunc(ctx, func() { l.events.Close() })
	defer stop()
	for {
		messages, _, err := l.events.Receive()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil && !errors.Is(err, unix.ENOBUFS) { // ENOBUFS: some were lost, and sync looks at everything
			return fmt.Errorf("watch devices: %w", err)
		}
		l.mu.Lock()
		for _, m := range messages {
			if m.Header.Type == unix.RTM_DELLINK {
				l.forget(int(nl.DeserializeIfInfomsg(m.Data).Index))
			}
		}
		l.mu.Unlock()
		report(l.sync())
	}
}

// forget lets go of a device that has gone, so that another one of the same index is new.
func (l *Links) forget(device int) {
	if a := l.attached[device]; a != nil && !a.Alive() {
		delete(l.attached, device)
		a.Detach()
	}
}

// sync attaches to devices without the program.
func (l *Links) sync() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	list, err := netlink.LinkList()
	for errors.Is(err, netlink.ErrDumpInterrupted) {
		list, err = netlink.LinkList()
	}
	if err != nil {
		return fmt.Errorf("list devices: %w", err)
	}
	gone := maps.Clone(l.attached)
	var errs []error
	for _, device := range list {
		attrs := device.Attrs()
		delete(gone, attrs.Index)
		l.forget(attrs.Index)
		if l.attached[attrs.Index] != nil {
			continue
		}
		a, err := Attach(&l.hook, attrs.Index)
		switch {
		case err == nil:
			l.attached[attrs.Index] = a
		case !errors.Is(err, unix.ENODEV): // it has gone since
			errs = append(errs, &LinkError{attrs.Index, attrs.Name, err})
		}
	}
	for device := range gone {
		l.forget(device)
	}
	return errors.Join(errs...)
}

// Attached returns the indexes of the devices that have the program, sorted.
func (l *Links) Attached() []int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Sorted(maps.Keys(l.attached))
}

// Detach takes the program off every device. Watch has returned, or was never called.
func (l *Links) Detach() error { return l.end(Attachment.Detach) }

// Leave lets go of the devices: pinned links and filters stay. Watch has returned, or was never called.
func (l *Links) Leave() error { return l.end(Attachment.Leave) }

func (l *Links) end(how func(Attachment) error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var errs []error
	for device, a := range l.attached {
		errs = append(errs, how(a))
		delete(l.attached, device)
	}
	l.events.Close() // a second call does nothing
	return errors.Join(errs...)
}
