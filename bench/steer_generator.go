package bench

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// generator puts frames into the receive path of an interface: an XDP program that BPF_PROG_TEST_RUN runs with live
// frames (kernel Documentation/bpf/bpf_prog_run.rst) copies the next frame of a map into each packet and passes it on
// to the network stack. So one system call receives thousands of packets, on the calling thread and its CPU time.
type generator struct {
	program *ebpf.Program
	state   *ebpf.Map // one generatorState
	frames  *ebpf.Map // streams, one after the other
	used    uint32    // how many frames they have
}

// generatorState is what the program reads before each packet.
type generatorState struct {
	Next   uint64 // index of the next frame; the program counts it up
	Action uint64 // what it returns: xdpPass, or xdpDrop to make packets and throw them away
}

// streamFrames is how many frames a stream has: more than a measurement takes, so that no flow is new twice in one.
const streamFrames = 1 << 15

// stream is frames that packets are copied from, in turn.
type stream struct {
	generator *generator
	first     uint32
	frames    int
}

// xdp actions, from include/uapi/linux/bpf.h.
const (
	xdpAborted = 0
	xdpDrop    = 1
	xdpPass    = 2
)

// newGenerator returns a generator with room for as many frames.
func newGenerator(frames int) (g *generator, err error) {
	g = &generator{}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("make packet generator: %w", err), g.close())
		}
	}()
	g.state, err = ebpf.NewMap(&ebpf.MapSpec{
		Type: ebpf.Array, KeySize: 4, ValueSize: uint32(binary.Size(generatorState{})), MaxEntries: 1,
	})
	if err != nil {
		return g, err
	}
	g.frames, err = ebpf.NewMap(&ebpf.MapSpec{
		Type: ebpf.Array, KeySize: 4, ValueSize: uint32(len(frame{})), MaxEntries: uint32(frames),
	})
	if err != nil {
		return g, err
	}
	g.program, err = ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: "generator", Type: ebpf.XDP, License: "BSD", Instructions: g.instructions(),
	})
	return g, err
}

// instructions copies frame number state.Next++ over the packet and returns state.Action.
func (g *generator) instructions() asm.Instructions {
	const keyOffset = -4
	key := asm.Instructions{asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, keyOffset)}
	found := asm.JEq.Imm(asm.R0, 0, "aborted")
	i := asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1), // the context
		asm.StoreImm(asm.RFP, keyOffset, 0, asm.Word),
		asm.LoadMapPtr(asm.R1, g.state.FD()),
	}
	i = append(i, key...)
	i = append(i, asm.FnMapLookupElem.Call(), found,
		asm.LoadMem(asm.R8, asm.R0, 8, asm.DWord), // Action
		asm.LoadMem(asm.R7, asm.R0, 0, asm.DWord), // Next
		asm.StoreMem(asm.RFP, keyOffset, asm.R7, asm.Word),
		asm.Add.Imm(asm.R7, 1),
		asm.StoreMem(asm.R0, 0, asm.R7, asm.DWord),
		asm.LoadMapPtr(asm.R1, g.frames.FD()),
	)
	i = append(i, key...)
	i = append(i, asm.FnMapLookupElem.Call(), found,
		asm.LoadMem(asm.R2, asm.R6, 0, asm.Word), // data
		asm.LoadMem(asm.R3, asm.R6, 4, asm.Word), // data_end
		asm.Mov.Reg(asm.R4, asm.R2),
		asm.Add.Imm(asm.R4, int32(len(frame{}))),
		asm.JGT.Reg(asm.R4, asm.R3, "aborted"),
	)
	for at := int16(0); at < int16(len(frame{})); at += 8 {
		i = append(i, asm.LoadMem(asm.R5, asm.R0, at, asm.DWord), asm.StoreMem(asm.R2, at, asm.R5, asm.DWord))
	}
	return append(i, asm.Mov.Reg(asm.R0, asm.R8), asm.Return(),
		asm.Mov.Imm(asm.R0, xdpAborted).WithSymbol("aborted"), asm.Return())
}

func (g *generator) close() error {
	var errs []error
	if g.program != nil {
		errs = append(errs, g.program.Close())
	}
	for _, m := range []*ebpf.Map{g.state, g.frames} {
		if m != nil {
			errs = append(errs, m.Close())
		}
	}
	return errors.Join(errs...)
}

// add stores the frames of a stream.
func (g *generator) add(frames []frame) (stream, error) {
	s := stream{g, g.used, len(frames)}
	keys := make([]uint32, len(frames))
	for i := range keys {
		keys[i] = s.first + uint32(i)
	}
	if _, err := g.frames.BatchUpdate(keys, frames, nil); err != nil {
		return s, fmt.Errorf("store frames: %w", err)
	}
	g.used += uint32(len(frames))
	return s, nil
}

// rewind makes the stream's first frame the next packet.
func (s stream) rewind(action uint64) error {
	if err := s.generator.state.Put(uint32(0), generatorState{uint64(s.first), action}); err != nil {
		return fmt.Errorf("rewind the generator: %w", err)
	}
	return nil
}

// made returns how many packets have been made since rewind: more than were asked for where a signal has interrupted an
// injection, which then begins anew.
func (s stream) made() (int, error) {
	var state generatorState
	if err := s.generator.state.Lookup(uint32(0), &state); err != nil {
		return 0, fmt.Errorf("read the generator's count: %w", err)
	}
	return int(state.Next - uint64(s.first)), nil
}
