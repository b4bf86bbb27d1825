package steering

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"anyport/conf/rule"
)

// The tests in selftest_*_test.go carry the intent of the kernel's own tests of sk_lookup
// (tools/testing/selftests/bpf/prog_tests/sk_lookup.c, Linux 6.18): what the steering program leans on, over TCP and
// UDP and IPv4 and IPv6 alike.

// TestSelftestAssign is the contract of bpf_sk_assign.
func TestSelftestAssign(t *testing.T) {
	const ok, none = unix.Errno(0), noSocket
	for _, c := range []struct {
		name     string
		sockets  []string // by slot: kinds as of world.socket, "other" for the other protocol, "connected"
		v4, v6   bool     // families of the packet
		calls    []assignCall
		returned []unix.Errno
		selected int // slot, or none
	}{
		{"assign", []string{"dual"}, true, true, []assignCall{{0, 0}}, []unix.Errno{ok}, 0},
		{"EEXIST", []string{"dual", "dual"}, true, true, []assignCall{{0, 0}, {1, 0}},
			[]unix.Errno{ok, unix.EEXIST}, 0},
		{"EEXIST for the same socket", []string{"dual"}, true, true, []assignCall{{0, 0}, {0, 0}},
			[]unix.Errno{ok, unix.EEXIST}, 0},
		{"F_REPLACE", []string{"dual", "dual"}, true, true, []assignCall{{0, 0}, {1, flagReplace}},
			[]unix.Errno{ok, ok}, 1},
		{"F_REPLACE with nothing to replace", []string{"dual"}, true, true, []assignCall{{0, flagReplace}},
			[]unix.Errno{ok}, 0},
		{"NULL", nil, true, true, []assignCall{{none, 0}}, []unix.Errno{ok}, none},
		{"NULL does not replace", []string{"dual"}, true, true, []assignCall{{0, 0}, {none, 0}},
			[]unix.Errno{ok, unix.EEXIST}, 0},
		{"NULL replaces with F_REPLACE", []string{"dual"}, true, true, []assignCall{{0, 0}, {none, flagReplace}},
			[]unix.Errno{ok, ok}, none},
		{"NULL, then a socket", []string{"dual"}, true, true, []assignCall{{none, 0}, {0, 0}}, []unix.Errno{ok, ok}, 0},
		{"unknown flag", []string{"dual"}, true, true, []assignCall{{0, 1 << 2}}, []unix.Errno{unix.EINVAL}, none},
		{"IPv4 socket for IPv4", []string{"inet"}, true, false, []assignCall{{0, 0}}, []unix.Errno{ok}, 0},
		{"IPv4 socket for IPv6", []string{"inet"}, false, true, []assignCall{{0, 0}},
			[]unix.Errno{unix.EAFNOSUPPORT}, none},
		{"IPv6-only socket for IPv4", []string{"inet6"}, true, false, []assignCall{{0, 0}},
			[]unix.Errno{unix.EAFNOSUPPORT}, none},
		{"IPv6-only socket for IPv6", []string{"inet6"}, false, true, []assignCall{{0, 0}}, []unix.Errno{ok}, 0},
		{"wrong protocol", []string{"other"}, true, true, []assignCall{{0, 0}}, []unix.Errno{unix.EPROTOTYPE}, none},
		{"wrong state", []string{"connected"}, true, true, []assignCall{{0, 0}},
			[]unix.Errno{unix.ESOCKTNOSUPPORT}, none},
		{"wrong state does not replace", []string{"dual", "connected"}, true, true,
			[]assignCall{{0, 0}, {1, flagReplace}}, []unix.Errno{ok, unix.ESOCKTNOSUPPORT}, 0},
	} {
		for _, p := range both {
			t.Run(fmt.Sprint(c.name, " ", p), func(t *testing.T) {
				f := newForeignWorld(newWorld(t))
				f.servers = newServers(t)
				fds := f.fillSlots(p, c.sockets)
				program := f.program(foreignSpec{calls: c.calls, verdict: skPass})
				for _, addr := range families {
					if addr.Is4() && !c.v4 || addr.Is6() && !c.v6 {
						continue
					}
					selected := f.run(program, p, addr)
					if got := f.returned(len(c.calls)); fmt.Sprint(got) != fmt.Sprint(c.returned) {
						t.Errorf("%s: bpf_sk_assign returned %v, want %v", addr, got, c.returned)
					}
					want := uint64(0)
					if c.selected != none {
						want = cookie(t, fds[c.selected])
					}
					if selected != want {
						t.Errorf("%s: selected socket %d, want %d", addr, selected, want)
					}
				}
			})
		}
	}
}

// fillSlots opens a socket of each kind and puts it into the slot of its place.
func (f *foreignWorld) fillSlots(p rule.Protocol, kinds []string) []int {
	f.t.Helper()
	fds := make([]int, len(kinds))
	for slot, kind := range kinds {
		fds[slot] = f.unfit(p, kind, func(fd int) { f.put(slot, fd) })
	}
	return fds
}

// run runs a program on a packet and returns the cookie of the socket that it selects, or 0.
func (f *foreignWorld) run(program *ebpf.Program, p rule.Protocol, addr netip.Addr) uint64 {
	f.t.Helper()
	in, err := newLookupContext(p, netip.Addr{}, netip.AddrPortFrom(addr, 7))
	if err != nil {
		f.t.Fatal(err)
	}
	var out lookupContext
	if _, err := program.Run(&ebpf.RunOptions{Context: in, ContextOut: &out}); err != nil {
		f.t.Fatal(err)
	}
	return out.Cookie
}
