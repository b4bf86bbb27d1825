package bench

import (
	"fmt"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// batch is how many packets one system call injects: enough to make its own cost, some 20 us, vanish, and few enough
// for a receive buffer.
const batch = 4096

// xdpContext is struct xdp_md of include/uapi/linux/bpf.h.
type xdpContext struct {
	Data, DataEnd, DataMeta                   uint32
	IngressIfindex, RxQueueIndex, EgressIndex uint32
}

// inject lets an interface of the calling thread's network namespace receive one batch and returns the CPU time that
// this took the thread.
func (g *generator) inject(ifindex int) (time.Duration, error) {
	opts := &ebpf.RunOptions{
		Data: make([]byte, len(frame{})), Repeat: batch, Flags: unix.BPF_F_TEST_XDP_LIVE_FRAMES,
		Context: xdpContext{DataEnd: uint32(len(frame{})), IngressIfindex: uint32(ifindex)},
	}
	before := threadTime()
	_, err := g.program.Run(opts)
	took := threadTime() - before
	if err != nil {
		return 0, fmt.Errorf("inject packets: %w", err)
	}
	return took, nil
}

// attach lets an interface of the calling thread's namespace be injected into: veth has the receive queue that live
// frames need only while an XDP program is attached (veth_enable_xdp, drivers/net/veth.c). Injected packets do not run
// the attached program. It is the generator's own because the kernel then has it among its XDP programs already; else
// every injection would put it there and take it out, and wait for RCU each time (bpf_prog_test_run_xdp,
// net/bpf/test_run.c; both Linux 6.18).
func (g *generator) attach(ifindex int) (link.Link, error) {
	l, err := link.AttachXDP(link.XDPOptions{Program: g.program, Interface: ifindex, Flags: link.XDPDriverMode})
	if err != nil {
		return nil, fmt.Errorf("attach an XDP program: %w", err)
	}
	return l, nil
}
