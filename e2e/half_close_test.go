package e2e

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"

	"anyport/bench/netlab"
)

// TestHalfCloseByTools sends a file by ncat and by socat, which close their sending side at its end; the server answers
// only then, with the file's hash.
func TestHalfCloseByTools(t *testing.T) {
	netlab.RequireRoot(t)
	netlab.RequireProgram(t, "ncat", "socat")
	w := newWorld(t)
	w.upstreams(7000, hashOfAll)
	w.run(prefixes + "[[route]]\nupstream = [\"10.2.0.2:7000\"]\n")

	data := make([]byte, 3<<20)
	for i := range data {
		data[i] = byte(w.rng.Uint32())
	}
	file := w.file("data", string(data))
	want := fmt.Sprintf("%x\n", sha256.Sum256(data))
	for _, f := range families {
		to := f.destination(w.rng)
		for _, script := range []string{`ncat "$1" "$2" <"$3"`, `socat -t 20 - "TCP:[$1]:$2" <"$3"`} {
			if f.name == "ipv4" {
				script = string(bytes.ReplaceAll([]byte(script), []byte("[$1]"), []byte("$1")))
			}
			cmd := w.Client.Command("sh", "-c", script, "sh", to.Addr().String(), fmt.Sprint(to.Port()), file)
			out, errs, status := runShort(t, cmd)
			if status != 0 || out != want {
				t.Errorf("%s: %s ended with %d, printed %q %q, want %q", to, script, status, out, errs, want)
			}
		}
	}
}

// hashOfAll reads until the client has closed its side, then answers.
func hashOfAll(c *net.TCPConn) {
	h := sha256.New()
	io.Copy(h, c)
	fmt.Fprintf(c, "%x\n", h.Sum(nil))
}

// TestUpstreamClosesFirst lets the upstream end its side at once; what the client sends after that must still arrive.
func TestUpstreamClosesFirst(t *testing.T) {
	w := newWorld(t)
	const size = 1 << 20
	received := make(chan int64, 1)
	w.upstreams(7000, func(c *net.TCPConn) {
		fmt.Fprint(c, "goodbye")
		c.CloseWrite()
		n, _ := io.Copy(io.Discard, c)
		received <- n
	})
	w.run(prefixes + "[[route]]\nupstream = [\"10.2.0.2:7000\"]\n")
	for _, f := range families {
		c, err := dial(w.Client, f.destination(w.rng))
		w.must(err)
		defer c.Close()
		if got, err := io.ReadAll(c); err != nil || string(got) != "goodbye" {
			t.Errorf("%s: read %q, %v", f.name, got, err)
		}
		if err := sendAll(c, make([]byte, size)); err != nil {
			t.Errorf("%s: send after the upstream's end: %v", f.name, err)
		}
		if n := <-received; n != size {
			t.Errorf("%s: %d bytes of %d arrived after the upstream's end", f.name, n, size)
		}
	}
}

// TestResetPassesOn checks that a reset of either side reaches the other as a reset, not as an orderly end.
func TestResetPassesOn(t *testing.T) {
	w := newWorld(t)
	upstreamSaw := make(chan error, 1)
	w.upstreams(7000, func(c *net.TCPConn) {
		line := make([]byte, 5)
		if _, err := io.ReadFull(c, line); err != nil || string(line) == "reset" {
			c.SetLinger(0)
			return
		}
		c.Write(line)
		_, err := io.Copy(io.Discard, c)
		upstreamSaw <- err
	})
	w.run(prefixes + "[[route]]\nupstream = [\"10.2.0.2:7000\"]\n")
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			checkUpstreamReset(t, w, f.destination(w.rng))
			checkClientReset(t, w, f.destination(w.rng), upstreamSaw)
		})
	}
}

func checkUpstreamReset(t *testing.T, w *world, to netip.AddrPort) {
	c, err := dial(w.Client, to)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("reset")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(c); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client saw %v of the upstream's reset", err)
	}
}

func checkClientReset(t *testing.T, w *world, to netip.AddrPort, upstreamSaw <-chan error) {
	c, err := dial(w.Client, to)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	c.SetLinger(0)
	c.Close()
	if err := <-upstreamSaw; !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the upstream saw %v of the client's reset", err)
	}
}
