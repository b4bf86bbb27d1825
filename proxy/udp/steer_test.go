package udp

import (
	"encoding/binary"
	"os"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"

	"anyport/bench/netlab"
	"anyport/conf/rule"
	"anyport/proxy/sock"
)

// The offsets in struct bpf_sk_lookup (include/uapi/linux/bpf.h) that the test's program reads.
const (
	ctxFamily    = 8
	ctxProtocol  = 12
	ctxLocalIP4  = 40
	ctxLocalIP6  = 44
	ctxLocalPort = 60
)

// steer attaches a small sk_lookup program to a namespace: UDP to a Trio's prefixes goes to clients, UDP to any other
// address and a port of nat goes to replies.
func steer(t testing.TB, ns *netlab.Namespace, nat rule.PortRange, clients, replies *sock.Socket) {
	t.Helper()
	sockets, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.SockMap, KeySize: 4, ValueSize: 8, MaxEntries: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sockets.Close() })
	for i, s := range []*sock.Socket{clients, replies} {
		if err := sockets.Put(uint32(i), uint64(s.FD())); err != nil {
			t.Fatalf("put socket into the map: %v", err)
		}
	}
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.SkLookup, AttachType: ebpf.AttachSkLookup, License: "Dual BSD/GPL",
		Instructions: steerProgram(sockets.FD(), nat),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer prog.Close()
	file, err := os.Open(ns.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	l, err := link.AttachNetNs(int(file.Fd()), prog)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
}

func steerProgram(sockets int, nat rule.PortRange) asm.Instructions {
	var mask4 = [4]byte{0xff, 0xff, 0xf0}
	word := func(b []byte) int32 { return int32(binary.NativeEndian.Uint32(b)) }
	return asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.LoadMem(asm.R1, asm.R6, ctxProtocol, asm.Word),
		asm.JNE.Imm(asm.R1, int32(rule.UDP), "pass"),
		asm.LoadMem(asm.R1, asm.R6, ctxFamily, asm.Word),
		asm.JEq.Imm(asm.R1, 2, "ipv4"),
		asm.LoadMem(asm.R1, asm.R6, ctxLocalIP6, asm.Word),
		asm.JEq.Imm32(asm.R1, word(netlab.Prefix6.Addr().AsSlice()), "clients"),
		asm.Ja.Label("nat"),

		asm.LoadMem(asm.R1, asm.R6, ctxLocalIP4, asm.Word).WithSymbol("ipv4"),
		asm.And.Imm32(asm.R1, word(mask4[:])),
		asm.JEq.Imm32(asm.R1, word(netlab.Prefix4.Addr().AsSlice()), "clients"),

		asm.LoadMem(asm.R1, asm.R6, ctxLocalPort, asm.Word).WithSymbol("nat"),
		asm.JLT.Imm(asm.R1, int32(nat.First), "pass"),
		asm.JGT.Imm(asm.R1, int32(nat.Last), "pass"),
		asm.Mov.Imm(asm.R7, 1),
		asm.Ja.Label("assign"),
		asm.Mov.Imm(asm.R7, 0).WithSymbol("clients"),

		asm.StoreMem(asm.RFP, -4, asm.R7, asm.Word).WithSymbol("assign"),
		asm.LoadMapPtr(asm.R1, sockets),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, -4),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "drop"),
		asm.Mov.Reg(asm.R7, asm.R0),
		asm.Mov.Reg(asm.R1, asm.R6),
		asm.Mov.Reg(asm.R2, asm.R7),
		asm.Mov.Imm(asm.R3, 0),
		asm.FnSkAssign.Call(),
		asm.Mov.Reg(asm.R1, asm.R7),
		asm.FnSkRelease.Call(),
		asm.Mov.Imm(asm.R0, 1).WithSymbol("pass"),
		asm.Return(),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("drop"),
		asm.Return(),
	}
}
