package e2e

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"anyport/bench/netlab"
)

// deadline bounds every wait in these tests. Nothing takes it that works; it is long because machines are slow.
const deadline = 20 * time.Second

// world is a network with a folder for files.
type world struct {
	*netlab.Trio
	t   *testing.T
	dir string
	rng *rand.Rand
}

// newWorld makes a network that fails the test if anyport leaves anything in it.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{Trio: netlab.NewTrio(t), t: t, dir: t.TempDir(), rng: newRand(t)}
	w.forgetPredecessor()
	t.Cleanup(w.checkClean)
	return w
}

// forgetPredecessor removes what belongs to an earlier namespace of the same inode: the kernel gives inodes anew, and a
// test run that was killed cleans nothing up.
func (w *world) forgetPredecessor() {
	w.t.Helper()
	if len(filesNamed("/sys/fs/bpf", fmt.Sprint(w.Proxy.Inode()))) > 0 {
		_, _, _ = w.anyport("unload")
	}
	for _, path := range filesNamed("/run/anyport", fmt.Sprint(w.Proxy.Inode())) {
		w.must(os.Remove(path))
	}
}

// newRand returns random numbers whose seed the log of a failed test tells.
func newRand(t *testing.T) *rand.Rand {
	seed := rand.Uint64()
	t.Logf("seed %#x", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// checkClean runs when the test's daemons have ended. Those that were killed leave their pins on purpose: unload takes
// them away, and then nothing may be left.
func (w *world) checkClean() {
	if out, err := w.Proxy.Command(binaryPath, "unload").CombinedOutput(); err != nil && len(w.leftovers()) > 0 {
		w.t.Errorf("anyport unload: %v\n%s", err, out)
	}
	if left := w.leftovers(); len(left) > 0 {
		w.t.Errorf("left after unload: %q", left)
	}
}

// servedRoute matches a local route of a prefix that these tests serve.
var servedRoute = regexp.MustCompile(`\b(198\.18\.|2001:db8:|127\.64\.|fd64:)`)

// leftovers names everything of anyport's that is bound to the proxy's namespace: files in bpffs and /run, local
// routes, sk_lookup links.
func (w *world) leftovers() []string {
	w.t.Helper()
	left := filesNamed("/sys/fs/bpf", fmt.Sprint(w.Proxy.Inode()))
	left = append(left, filesNamed("/run/anyport", fmt.Sprint(w.Proxy.Inode()))...)
	for _, family := range []string{"-4", "-6"} {
		out, err := w.Proxy.Command("ip", family, "route", "show", "table", "local").Output()
		if err != nil {
			w.t.Errorf("list local routes: %v", err)
		}
		for line := range strings.Lines(string(out)) {
			if servedRoute.MatchString(line) {
				left = append(left, strings.TrimSpace(line))
			}
		}
	}
	left = append(left, w.returnRules()...)
	return append(left, lookupLinks(w.t, w.Proxy.Inode())...)
}

// filesNamed returns the paths below root whose last element contains part.
func filesNamed(root, part string) []string {
	var found []string
	_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.Contains(d.Name(), part) {
			found = append(found, path)
		}
		return nil // a root that does not exist holds no file
	})
	return found
}

// file writes a file into the world's folder and returns its path.
func (w *world) file(name, content string) string {
	w.t.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		w.t.Fatal(err)
	}
	return path
}

// must ends the test if a step of its preparation failed.
func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// families are the two address families of every case: a name, the served prefix, the upstream's address, the proxy's
// towards the client, and the client's.
var families = []family{
	{"ipv4", netlab.Prefix4, netlab.Upstream4, netlab.ProxyClient4, netlab.Client4},
	{"ipv6", netlab.Prefix6, netlab.Upstream6, netlab.ProxyClient6, netlab.Client6},
}

type family struct {
	name            string
	prefix          netip.Prefix
	upstream, proxy netip.Addr
	client          netip.Addr
}

// address returns a random address of the family's prefix.
func (f family) address(rng *rand.Rand) netip.Addr {
	b := f.prefix.Addr().AsSlice()
	for bit := f.prefix.Bits(); bit < len(b)*8; bit++ {
		b[bit/8] |= byte(rng.IntN(2)) << (7 - bit%8)
	}
	addr, _ := netip.AddrFromSlice(b)
	return addr
}

// destination returns a random address and port of the family's prefix.
func (f family) destination(rng *rand.Rand) netip.AddrPort {
	return netip.AddrPortFrom(f.address(rng), uint16(1+rng.IntN(65535)))
}

// waitFor polls until ok returns true.
func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	end := time.Now().Add(deadline)
	for !ok() {
		if time.Now().After(end) {
			t.Fatalf("waited %v in vain for %s", deadline, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
