package steering

import (
	"errors"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// Flags of bpf_sk_assign in sk_lookup programs (linux/bpf.h).
const (
	flagReplace     = 1 << 0 // BPF_SK_LOOKUP_F_REPLACE
	flagNoReuseport = 1 << 1 // BPF_SK_LOOKUP_F_NO_REUSEPORT
)

// What an sk_lookup program returns.
const (
	skDrop = 0
	skPass = 1
)

// noSocket is the slot of an assignment of NULL.
const noSocket = -1

// assignment is one call of bpf_sk_assign.
type assignCall struct {
	slot  int
	flags int32
}

// foreignSpec is a small sk_lookup program of somebody else, and the maps that it uses.
type foreignSpec struct {
	calls   []assignCall // in this order, each for a slot that holds a socket
	verdict int32
	ifindex int // if not 0: packets that arrive elsewhere are dropped before all this
}

// foreignWorld has the maps of foreign programs.
type foreignWorld struct {
	*world
	sockets *ebpf.Map // SOCKMAP
	results *ebpf.Map // ARRAY with one value, of maxCalls numbers: what the calls returned
}

const maxCalls = 4

func newForeignWorld(w *world) *foreignWorld {
	w.t.Helper()
	sockets, errS := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.SockMap, KeySize: 4, ValueSize: 8, MaxEntries: 8})
	results, errR := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8 * maxCalls, MaxEntries: 1})
	w.t.Cleanup(func() { sockets.Close(); results.Close() })
	if err := errors.Join(errS, errR); err != nil {
		w.t.Fatal(err)
	}
	return &foreignWorld{w, sockets, results}
}

// program assembles and loads a foreign program, which is closed when the test ends.
func (f *foreignWorld) program(spec foreignSpec) *ebpf.Program {
	f.t.Helper()
	code := asm.Instructions{asm.Mov.Reg(asm.R6, asm.R1)}
	if spec.ifindex != 0 {
		const ingressIfindex = 64 // offset in struct bpf_sk_lookup
		code = append(code,
			asm.LoadMem(asm.R0, asm.R6, ingressIfindex, asm.Word),
			asm.JNE.Imm(asm.R0, int32(spec.ifindex), "drop"),
		)
	}
	for i, call := range spec.calls {
		code = append(code, f.assign(call, int16(8*i))...)
	}
	code = append(code, asm.Mov.Imm(asm.R0, spec.verdict).WithSymbol("end"), asm.Return())
	if spec.ifindex != 0 {
		code = append(code, asm.Mov.Imm(asm.R0, skDrop).WithSymbol("drop"), asm.Return())
	}
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: "foreign", Type: ebpf.SkLookup, AttachType: ebpf.AttachSkLookup,
		License: "Dual BSD/GPL", Instructions: code})
	if err != nil {
		f.t.Fatalf("%+v", err)
	}
	f.t.Cleanup(func() { p.Close() })
	return p
}

// assign is the code of one call, whose result it stores at an offset of the results. R6 is the context.
func (f *foreignWorld) assign(call assignCall, offset int16) asm.Instructions {
	if call.slot == noSocket {
		return append(asm.Instructions{
			asm.Mov.Reg(asm.R1, asm.R6),
			asm.Mov.Imm(asm.R2, 0),
			asm.Mov.Imm(asm.R3, call.flags),
			asm.FnSkAssign.Call(),
			asm.Mov.Reg(asm.R8, asm.R0),
		}, f.store(offset)...)
	}
	return append(asm.Instructions{
		asm.StoreImm(asm.R10, -4, int64(call.slot), asm.Word),
		asm.LoadMapPtr(asm.R1, f.sockets.FD()),
		asm.Mov.Reg(asm.R2, asm.R10),
		asm.Add.Imm(asm.R2, -4),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "end"),
		asm.Mov.Reg(asm.R7, asm.R0),
		asm.Mov.Reg(asm.R1, asm.R6),
		asm.Mov.Reg(asm.R2, asm.R7),
		asm.Mov.Imm(asm.R3, call.flags),
		asm.FnSkAssign.Call(),
		asm.Mov.Reg(asm.R8, asm.R0),
		asm.Mov.Reg(asm.R1, asm.R7),
		asm.FnSkRelease.Call(),
	}, f.store(offset)...)
}

// store writes R8 into the results.
func (f *foreignWorld) store(offset int16) asm.Instructions {
	return asm.Instructions{
		asm.LoadMapValue(asm.R1, f.results.FD(), 0),
		asm.StoreMem(asm.R1, offset, asm.R8, asm.DWord),
	}
}

// returned reads what the first n calls of a program's last run returned.
func (f *foreignWorld) returned(n int) []unix.Errno {
	f.t.Helper()
	var raw [maxCalls]int64
	if err := f.results.Lookup(uint32(0), &raw); err != nil {
		f.t.Fatal(err)
	}
	var errnos []unix.Errno
	for _, code := range raw[:n] {
		errnos = append(errnos, unix.Errno(-code))
	}
	return errnos
}

// attach attaches a program after those that are there, until the test ends.
func (f *foreignWorld) attach(p *ebpf.Program) {
	f.t.Helper()
	ns, err := openNamespace(f.opts.Netns)
	if err != nil {
		f.t.Fatal(err)
	}
	defer ns.close()
	l, err := link.AttachNetNs(ns.fd(), p)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { l.Close() })
}

// put puts a socket into a slot of the foreign programs' map.
func (f *foreignWorld) put(slot int, fd int) {
	f.t.Helper()
	if err := f.sockets.Put(uint32(slot), uint64(fd)); err != nil {
		f.t.Fatalf("put socket into slot %d: %v", slot, err)
	}
}

func cookie(t testing.TB, fd int) uint64 {
	t.Helper()
	c, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_COOKIE)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
