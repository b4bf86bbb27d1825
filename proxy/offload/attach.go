package offload

import (
	"fmt"

	"github.com/cilium/ebpf"
)

// Way is how a program gets onto a device.
type Way uint8

const (
	// TCX is by a bpf_link (Linux 6.6). Programs of others keep their places; the link goes with its last descriptor or
	// pin.
	TCX Way = iota
	// Clsact is by a filter of the clsact qdisc through netlink (Linux 4.5). It stays until somebody removes it: Attach
	// replaces what a process that was killed has left.
	Clsact
)

// String returns the name of the way, as in the configuration.
func (w Way) String() string {
	if w == Clsact {
		return "clsact"
	}
	return "tcx"
}

// Direction is that of the packets that a program sees.
type Direction uint8

const (
	Ingress Direction = iota // what the device has received
	Egress                   // what it is about to send
)

// String returns "ingress" or "egress".
func (d Direction) String() string {
	if d == Egress {
		return "egress"
	}
	return "ingress"
}

// Hook is a program and where on a device it belongs.
type Hook struct {
	Name      string // letters and digits: of pins, and of the filter, by which a later process knows it again
	Program   *ebpf.Program
	Direction Direction
	Way       Way
	// PinDir is a directory in a bpffs where TCX links are pinned, so that they outlive the process; Attach puts the
	// program in place of the one that a link there has. "" pins nothing. Clsact needs none.
	PinDir string
}

// Attachment is a program on a device.
type Attachment interface {
	// Alive reports whether the program is still there.
	Alive() bool
	// Detach takes it off, with its pin. A device that has gone is no error.
	Detach() error
	// Leave lets go of it: a pinned link and a filter stay.
	Leave() error
}

// Attach puts a hook onto a device, in place of what an earlier process has left there under the hook's name. It must
// be called in the device's network namespace. It returns an error that matches ebpf.ErrNotSupported where the kernel
// has not got the way.
func Attach(h *Hook, device int) (Attachment, error) {
	var a Attachment
	var err error
	if h.Way == Clsact {
		a, err = attachFilter(h, device)
	} else {
		a, err = attachTCX(h, device)
	}
	if err != nil {
		return nil, fmt.Errorf("attach %s to %s of device %d by %s: %w", h.Name, h.Direction, device, h.Way, err)
	}
	return a, nil
}
