package offload

import (
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"anyport/bpf"
)

// BenchmarkOthers has the program see packets of no flow, beside one that does nothing: what everybody else's traffic
// pays. The kernel runs it as often as asked (BPF_PROG_TEST_RUN).
func BenchmarkOthers(b *testing.B) {
	bed := newBed(b, 1000)
	nothing, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, License: "Dual BSD/GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, -1), asm.Return()}})
	must(b, err)
	defer nothing.Close()
	for _, packet := range []struct {
		name     string
		v4       bool
		protocol byte
	}{
		{"TCP/v4", true, unix.IPPROTO_TCP}, {"TCP/v6", false, unix.IPPROTO_TCP},
		{"UDP/v4", true, unix.IPPROTO_UDP}, {"UDP/v6", false, unix.IPPROTO_UDP},
	} {
		for name, program := range map[string]*ebpf.Program{"nothing": nothing, bpf.OffloadProgAnyportOffload: bed.program} {
			b.Run(packet.name+"/"+name, func(b *testing.B) { bed.runOthers(b, program, packet.v4, packet.protocol) })
		}
	}
}

func (b *bed) runOthers(t *testing.B, program *ebpf.Program, v4 bool, protocol byte) {
	t.Helper()
	must(t, b.Proxy.Do(func() error {
		device, err := netlink.LinkByName("client0")
		if err != nil {
			return err
		}
		context := make([]byte, 192) // struct __sk_buff, of which the device's index counts
		context[40] = byte(device.Attrs().Index)
		frame := otherFrame(device.Attrs().HardwareAddr, v4, protocol)
		t.ResetTimer()
		_, err = program.Run(&ebpf.RunOptions{Data: frame, Context: context, Repeat: uint32(t.N)})
		return err
	}))
}

// otherFrame is a packet with 20 bytes of payload, whose addresses and ports are zero.
func otherFrame(to []byte, v4 bool, protocol byte) []byte {
	frame := append(append([]byte(nil), to...), 2, 0, 0, 0, 0, 9)
	if v4 {
		frame = append(frame, 0x08, 0, 0x45, 0, 0, 20+8+20, 0, 0, 0, 0, 64, protocol, 0, 0)
		frame = append(frame, make([]byte, 2*4)...)
	} else {
		frame = append(frame, 0x86, 0xdd, 0x60, 0, 0, 0, 0, 8+20, protocol, 64)
		frame = append(frame, make([]byte, 2*16)...)
	}
	return append(append(frame, 0, 0, 0, 0, 0, 8+20, 0, 0), make([]byte, 20)...)
}
