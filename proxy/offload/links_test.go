package offload

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"anyport/bench/netlab"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var ways = []Way{TCX, Clsact}

// counter is a program that counts packets and leaves them to whoever is next.
func counter(t *testing.T) (*ebpf.Program, *ebpf.Map) {
	t.Helper()
	count, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1})
	must(t, err)
	t.Cleanup(func() { count.Close() })
	const next = -1 // TCX_NEXT, and TC_ACT_UNSPEC to a filter
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, License: "Dual BSD/GPL", Instructions: asm.Instructions{
		asm.LoadMapValue(asm.R1, count.FD(), 0),
		asm.Mov.Imm(asm.R2, 1),
		asm.StoreXAdd(asm.R1, asm.R2, asm.DWord),
		asm.Mov.Imm(asm.R0, next),
		asm.Return(),
	}})
	must(t, err)
	t.Cleanup(func() { prog.Close() })
	return prog, count
}

func counted(t *testing.T, m *ebpf.Map) (n uint64) {
	t.Helper()
	must(t, m.Lookup(uint32(0), &n))
	return n
}

// knock sends a datagram over lo.
func knock(t *testing.T, ns *netlab.Namespace) {
	t.Helper()
	must(t, ns.Do(func() error {
		c, err := net.Dial("udp", "127.0.0.1:9")
		if err != nil {
			return err
		}
		_, err = c.Write([]byte("?"))
		return errors.Join(err, c.Close())
	}))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func shell(t *testing.T, ns *netlab.Namespace, command string) string {
	t.Helper()
	words := strings.Fields(command)
	out, err := ns.Command(words[0], words[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
	return string(out)
}

// TestLinks attaches to devices that are there, that come, and that take the index of one that has gone, and sees the
// program run on lo and gone after Detach.
func TestLinks(t *testing.T) {
	for _, way := range ways {
		t.Run(way.String(), func(t *testing.T) {
			trio := netlab.NewTrio(t)
			prog, count := counter(t)
			var links *Links
			must(t, trio.Proxy.Do(func() (err error) {
				links, err = OpenLinks(Hook{Name: "test", Program: prog, Direction: Egress, Way: way})
				return err
			}))
			stop := follow(t, trio.Proxy, links)
			if got := len(links.Attached()); got != 3 {
				t.Errorf("attached to %d devices, want lo, client0 and upstream0", got)
			}
			for range 2 {
				shell(t, trio.Proxy, "ip link add name late0 index 77 type veth peer name late1 index 78")
				netlab.Eventually(t, "the new devices to have the program", func() bool {
					return slices.Contains(links.Attached(), 77) && slices.Contains(links.Attached(), 78)
				})
				shell(t, trio.Proxy, "ip link del late0")
			}
			netlab.Eventually(t, "the devices to be forgotten", func() bool { return len(links.Attached()) == 3 })
			before := counted(t, count)
			knock(t, trio.Proxy)
			if counted(t, count) == before {
				t.Error("the program does not see what lo sends")
			}
			stop()
			must(t, trio.Proxy.Do(links.Detach))
			before = counted(t, count)
			knock(t, trio.Proxy)
			if counted(t, count) != before {
				t.Error("the program runs after Detach")
			}
		})
	}
}

// follow runs Watch in a namespace until stop is called.
func follow(t *testing.T, ns *netlab.Namespace, links *Links) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go watch(ctx, t, ns, links, done)
	return func() { cancel(); must(t, <-done) }
}

func watch(ctx context.Context, t *testing.T, ns *netlab.Namespace, links *Links, done chan<- error) {
	done <- ns.Do(func() error {
		return links.Watch(ctx, func(err error) {
			if err != nil {
				t.Error(err)
			}
		})
	})
}

// TestRemovedByHand takes the clsact qdisc with the filter away: it is put back.
func TestRemovedByHand(t *testing.T) {
	trio := netlab.NewTrio(t)
	prog, count := counter(t)
	var links *Links
	must(t, trio.Proxy.Do(func() (err error) {
		links, err = OpenLinks(Hook{Name: "test", Program: prog, Direction: Ingress, Way: Clsact})
		return err
	}))
	stop := follow(t, trio.Proxy, links)
	shell(t, trio.Proxy, "tc qdisc del dev lo clsact")
	netlab.Eventually(t, "the program to be back", func() bool {
		before := counted(t, count)
		knock(t, trio.Proxy)
		return counted(t, count) > before
	})
	stop()
	must(t, trio.Proxy.Do(links.Detach))
}

// TestTakeOver attaches again where an earlier process has left its program: there is one of them, the new one.
func TestTakeOver(t *testing.T) {
	for _, way := range ways {
		t.Run(way.String(), func(t *testing.T) {
			ns, err := netlab.New(t).Add("host")
			must(t, err)
			old, oldCount := counter(t)
			prog, count := counter(t)
			hook := Hook{Name: "test", Program: old, Direction: Ingress, Way: way, PinDir: pinDir(t, way)}
			must(t, ns.Do(func() error {
				a, err := Attach(&hook, loopback)
				if err != nil {
					return err
				}
				return a.Leave()
			}))
			hook.Program = prog
			var a Attachment
			must(t, ns.Do(func() (err error) { a, err = Attach(&hook, loopback); return err }))
			before := counted(t, oldCount)
			knock(t, ns)
			if counted(t, oldCount) != before || counted(t, count) == 0 {
				t.Errorf("the old program ran %d times, the new one %d", counted(t, oldCount)-before, counted(t, count))
			}
			must(t, ns.Do(func() error { return a.Detach() }))
			before = counted(t, count)
			knock(t, ns)
			if counted(t, count) != before {
				t.Error("the program runs after Detach")
			}
		})
	}
}

// pinDir mounts a bpffs for the test, which Clsact does without.
func pinDir(t testing.TB, way Way) string {
	t.Helper()
	if way == Clsact {
		return ""
	}
	dir := filepath.Join(t.TempDir(), "bpf")
	must(t, os.Mkdir(dir, 0o755))
	must(t, unix.Mount("bpf", dir, "bpf", 0, ""))
	t.Cleanup(func() { must(t, unix.Unmount(dir, 0)) })
	return dir
}

// TestPinOfAnotherDevice leaves a pin whose device has gone before a new device takes its index.
func TestPinOfAnotherDevice(t *testing.T) {
	ns, err := netlab.New(t).Add("host")
	must(t, err)
	prog, _ := counter(t)
	hook := Hook{Name: "test", Program: prog, Direction: Egress, Way: TCX, PinDir: pinDir(t, TCX)}
	for range 2 {
		shell(t, ns, "ip link add name a index 77 type veth peer name b")
		must(t, ns.Do(func() error {
			a, err := Attach(&hook, 77)
			if err == nil && !a.Alive() {
				t.Error("the program is not on the device")
			}
			if err != nil {
				return err
			}
			return a.Leave()
		}))
		shell(t, ns, "ip link del dev a")
	}
}
