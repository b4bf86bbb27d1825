package steering

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"anyport/conf/rule"
)

// TestSelftestReuseport puts member "a" of a reuseport group of two into the slot. The group stands behind its member:
// the kernel spreads over it, or its own program chooses or drops. F_NO_REUSEPORT, in a foreign program, pins the
// member.
func TestSelftestReuseport(t *testing.T) {
	for _, c := range []struct {
		name  string
		group string // the group's program: "", "select b" or "drop"
		skip  bool   // a foreign program selects a with F_NO_REUSEPORT
		met   map[string]bool
	}{
		{"spread", "", false, map[string]bool{"a": true, "b": true}},
		{"re-select", "select b", false, map[string]bool{"b": true}},
		{"skip", "select b", true, map[string]bool{"a": true}},
		{"drop on reuseport", "drop", false, map[string]bool{refused: true}},
		{"skip the drop", "drop", true, map[string]bool{"a": true}},
	} {
		for _, p := range both {
			for _, addr := range families {
				t.Run(fmt.Sprint(p, " ", addr, " ", c.name), func(t *testing.T) {
					w := newWorld(t)
					w.servers = newServers(t)
					w.makeLocal(prefix4, prefix6)
					s := w.load()
					publish(t, s, steerAll())
					f := newForeignWorld(w)
					a, b := w.socket(p, "reuseport", "a"), w.socket(p, "reuseport", "b")
					f.steerGroup(s, p, a)
					f.attachToGroup(c.group, a, b)
					if c.skip {
						f.put(0, a)
						pin := []assignCall{{0, flagReplace | flagNoReuseport}}
						f.attach(f.program(foreignSpec{calls: pin, verdict: skPass}))
					}
					const packets = 40 // all to one of two members: once in 2^39 runs
					met := make(map[string]bool)
					for range packets {
						met[w.servers.who(w.ns, p, netip.Addr{}, netip.AddrPortFrom(addr, 7))] = true
					}
					if fmt.Sprint(met) != fmt.Sprint(c.met) {
						t.Errorf("met %v, want %v", met, c.met)
					}
					answer, err := s.Ask(p, netip.Addr{}, netip.AddrPortFrom(addr, 7))
					if err != nil || answer.Outcome != Steered || answer.Cookie != 0 {
						t.Errorf("asked about a group: %+v, %v", answer, err)
					}
				})
			}
		}
	}
}

// TestSelftestReuseportConnected connects a member of a UDP group: it keeps its peer's packets and gets no others.
func TestSelftestReuseportConnected(t *testing.T) {
	w := newWorld(t)
	w.servers = newServers(t)
	w.makeLocal(prefix4, prefix6)
	s := w.load()
	publish(t, s, steerAll())
	f := newForeignWorld(w)
	a, b := w.socket(rule.UDP, "reuseport", "a"), w.socket(rule.UDP, "reuseport", "b")
	f.steerGroup(s, rule.UDP, a)
	if err := unix.Connect(b, &unix.SockaddrInet6{Addr: loopback4Mapped, Port: 9}); err != nil {
		t.Fatal(err)
	}
	for range 40 {
		for _, addr := range families {
			if who := w.servers.who(w.ns, rule.UDP, netip.Addr{}, netip.AddrPortFrom(addr, 7)); who != "a" {
				t.Fatalf("%s met %q, want a", addr, who)
			}
		}
	}
}

// steerGroup puts a member of a group into the slot of service 0.
func (f *foreignWorld) steerGroup(s *Steering, p rule.Protocol, fd int) {
	f.t.Helper()
	assign(f.t, s, 0, p, descriptor(fd))
}

// attachToGroup attaches a program to the group of sockets a and b.
func (f *foreignWorld) attachToGroup(kind string, a, b int) {
	f.t.Helper()
	if kind == "" {
		return
	}
	code := asm.Instructions{asm.Mov.Imm(asm.R0, skDrop), asm.Return()}
	if kind == "select b" {
		spec := &ebpf.MapSpec{Type: ebpf.ReusePortSockArray, KeySize: 4, ValueSize: 8, MaxEntries: 1}
		members, err := ebpf.NewMap(spec)
		if err != nil {
			f.t.Fatal(err)
		}
		defer members.Close()
		if err := members.Put(uint32(0), uint64(b)); err != nil {
			f.t.Fatal(err)
		}
		code = asm.Instructions{ // the context is in R1
			asm.StoreImm(asm.R10, -4, 0, asm.Word),
			asm.LoadMapPtr(asm.R2, members.FD()),
			asm.Mov.Reg(asm.R3, asm.R10),
			asm.Add.Imm(asm.R3, -4),
			asm.Mov.Imm(asm.R4, 0),
			asm.FnSkSelectReuseport.Call(),
			asm.Mov.Imm(asm.R0, skPass),
			asm.Return(),
		}
	}
	spec := &ebpf.ProgramSpec{Type: ebpf.SkReuseport, License: "Dual BSD/GPL", Instructions: code}
	program, err := ebpf.NewProgram(spec)
	if err != nil {
		f.t.Fatalf("%+v", err)
	}
	defer program.Close()
	if err := unix.SetsockoptInt(a, unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_EBPF, program.FD()); err != nil {
		f.t.Fatal(err)
	}
}
