package offload

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"anyport/bpf"
)

// forwarding is the switch of one family without which bpf_fib_lookup does not answer for lo. It lets nothing through
// that was not let through before: lo brings nothing but what the host has sent to itself.
type forwarding struct {
	path string
	bit  bpf.OffloadSwitched // in the maps' state, where this process or one before has switched it on
}

var forwardings = []forwarding{
	{"/proc/sys/net/ipv4/conf/lo/forwarding", bpf.OffloadSwitchedSWITCHED_FORWARDING4},
	{"/proc/sys/net/ipv6/conf/lo/forwarding", bpf.OffloadSwitchedSWITCHED_FORWARDING6},
}

// isOn reports whether forwarding is on; of a family that the host has not got, it is.
func (f forwarding) isOn() (bool, error) {
	text, err := os.ReadFile(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("read forwarding of lo: %w", err)
	}
	return !bytes.Equal(bytes.TrimSpace(text), []byte("0")), nil
}

func (f forwarding) set(value string) error {
	if err := os.WriteFile(f.path, []byte(value), 0); err != nil {
		return fmt.Errorf("switch forwarding of lo: %w", err)
	}
	return nil
}

// switchOn switches forwarding on where it is off, and notes where.
func (m *flowMaps) switchOn() error {
	for _, f := range forwardings {
		on, err := f.isOn()
		if err != nil {
			return err
		}
		if on {
			continue
		}
		m.meta.Switched |= f.bit
		if err := f.set("1"); err != nil {
			return err
		}
	}
	return nil
}

// switchBack switches forwarding off where it was off before.
func (m *flowMaps) switchBack() error {
	var err error
	for _, f := range forwardings {
		if m.meta.Switched&f.bit != 0 {
			err = errors.Join(err, f.set("0"))
		}
	}
	return err
}
