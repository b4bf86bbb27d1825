package steering

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/features"
	"golang.org/x/sys/unix"
)

// feature is something that steering needs of the kernel.
type feature struct {
	name  string
	least string       // the Linux version that brought it
	probe func() error // nil, or an error that matches ebpf.ErrNotSupported, or why it could not be found out
}

// needed is in order of age, so that the first one missing says most about the kernel.
var needed = []feature{
	{"longest-prefix-match maps", "4.11", func() error { return features.HaveMapType(ebpf.LPMTrie) }},
	{"socket maps", "4.14", func() error { return features.HaveMapType(ebpf.SockMap) }},
	{"BPF ring buffers", "5.8", func() error { return features.HaveMapType(ebpf.RingBuf) }},
	{"sk_lookup programs", "5.9", func() error { return features.HaveProgramType(ebpf.SkLookup) }},
	{"socket assignment by sk_lookup programs", "5.9",
		func() error { return features.HaveProgramHelper(ebpf.SkLookup, asm.FnSkAssign) }},
	{"atomic exchange in BPF programs", "5.12", probeAtomics},
	{"test runs of sk_lookup programs", "5.13", probeTestRun},
	{"batches on longest-prefix-match maps", "5.13", probeBatch},
}

// Probe checks that the kernel has what steering needs. It returns an *UnsupportedError for the first thing that is
// missing, a *PrivilegeError if the process may not find out, and leaves nothing behind.
func Probe() error { return probe(needed) }

func probe(list []feature) error {
	for _, f := range list {
		err := f.probe()
		switch {
		case err == nil:
		case errors.Is(err, ebpf.ErrNotSupported), errors.Is(err, unix.ENOSYS):
			return &UnsupportedError{Feature: f.name, Least: f.least}
		default:
			return explainPrivilege(fmt.Errorf("probe for %s: %w", f.name, err))
		}
	}
	return nil
}

// diagnose returns what Probe finds wrong with the kernel, if that explains err, or else err.
func diagnose(err error) error {
	var missing *UnsupportedError
	if errors.As(Probe(), &missing) {
		return missing
	}
	return explainPrivilege(err)
}

// loadSmall loads a program that ends with these instructions and 1, SK_PASS.
func loadSmall(instructions ...asm.Instruction) (*ebpf.Program, error) {
	return ebpf.NewProgram(&ebpf.ProgramSpec{
		Type:         ebpf.SkLookup,
		AttachType:   ebpf.AttachSkLookup,
		License:      "Dual BSD/GPL",
		Instructions: append(instructions, asm.Mov.Imm(asm.R0, 1), asm.Return()),
	})
}

func probeAtomics() error {
	p, err := loadSmall(
		asm.Mov.Imm(asm.R0, 0),
		asm.StoreMem(asm.R10, -8, asm.R0, asm.DWord),
		asm.CmpXchg.Mem(asm.R10, asm.R0, asm.DWord, -8),
	)
	if err != nil && !errors.Is(err, unix.EPERM) {
		return ebpf.ErrNotSupported // older verifiers know no such instruction
	}
	p.Close()
	return err
}

func probeTestRun() error {
	p, err := loadSmall()
	if err != nil {
		return err
	}
	defer p.Close()
	_, err = p.Run(&ebpf.RunOptions{Context: &lookupContext{Family: unix.AF_INET, Protocol: unix.IPPROTO_TCP}})
	return err
}

func probeBatch() error {
	m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.LPMTrie, KeySize: 8, ValueSize: 4, MaxEntries: 1,
		Flags: unix.BPF_F_NO_PREALLOC})
	if err != nil {
		return err
	}
	defer m.Close()
	_, err = m.BatchUpdate([]uint64{0}, []uint32{0}, nil)
	return err
}
