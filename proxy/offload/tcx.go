package offload

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// tcx is an Attachment by a bpf_link.
type tcx struct {
	link   link.Link
	device int
}

func attachTCX(h *Hook, device int) (Attachment, error) {
	pin := filepath.Join(h.PinDir, fmt.Sprintf("%s-%s-%d", h.Name, h.Direction, device))
	if h.PinDir != "" {
		if l, err := adopt(h, pin, device); l != nil || err != nil {
			return &tcx{l, device}, err
		}
	}
	l, err := newTCX(h, device)
	if err != nil {
		return nil, err
	}
	if h.PinDir != "" {
		if err := l.Pin(pin); err != nil {
			return nil, errors.Join(err, l.Close())
		}
	}
	return &tcx{l, device}, nil
}

func newTCX(h *Hook, device int) (link.Link, error) {
	at := ebpf.AttachTCXIngress
	if h.Direction == Egress {
		at = ebpf.AttachTCXEgress
	}
	return link.AttachTCX(link.TCXOptions{Interface: device, Program: h.Program, Attach: at})
}

// adopt returns the pinned link of a device, with the hook's program. It returns nil if there is none, or one of a
// device that has gone, whose pin it removes.
func adopt(h *Hook, pin string, device int) (link.Link, error) {
	l, err := link.LoadPinnedLink(pin, nil)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !(&tcx{l, device}).Alive() {
		return nil, errors.Join(l.Close(), os.Remove(pin))
	}
	if err := l.Update(h.Program); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// Alive asks the link for its device, which is 0 once it has gone (tcx_link_fill_info in kernel/bpf/tcx.c).
func (t *tcx) Alive() bool {
	info, err := t.link.Info()
	return err == nil && info.TCX() != nil && int(info.TCX().Ifindex) == t.device
}

func (t *tcx) Detach() error {
	err := t.link.Unpin() // also right for a link that is not pinned
	if t.Alive() {
		// Another process may still hold the link, if only for a moment.
		err = errors.Join(err, t.link.Detach())
	}
	return errors.Join(err, t.link.Close())
}

func (t *tcx) Leave() error { return t.link.Close() }
