package e2e

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"anyport/bench/netlab"
)

// quicBytes is what is downloaded: enough for the daemon to be killed and started again meanwhile.
const quicBytes = 100 << 20

// TestQUIC downloads a file by HTTP/3 over each family, through the sockets and through the kernel. Where the kernel
// forwards the flow, the daemon is killed in the middle of it and started again.
func TestQUIC(t *testing.T) {
	netlab.RequireProgram(t, "gtlsserver", "gtlsclient", "openssl")
	for _, offload := range []string{"off", "auto"} {
		w := newWorld(t)
		file := w.quicFile()
		text := prefixes
		for _, f := range families {
			w.serveQUIC(netip.AddrPortFrom(f.upstream, 4433))
			text += fmt.Sprintf("[[route]]\nname = %q\nprotocol = \"udp\"\nprefix = [%q]\nupstream = [%q]\noffload = %q\n",
				f.name, f.prefix, netip.AddrPortFrom(f.upstream, 4433), offload)
		}
		d := w.run(text)
		for _, f := range families {
			t.Run(f.name+", offload "+offload, func(t *testing.T) {
				download := w.startQUIC(t, f.address(w.rng))
				if offload == "auto" {
					download.waitFor(5)
					w.must(d.Signal(syscall.SIGKILL))
					<-d.Done()
					download.waitFor(10)
					download.mustRun()
					d = w.run(text)
				}
				download.check(file)
			})
		}
	}
}

// quicFile makes the file to be downloaded and returns its content.
func (w *world) quicFile() []byte {
	w.t.Helper()
	content := make([]byte, quicBytes)
	for i := 0; i < len(content); i += 1000 {
		content[i] = byte(w.rng.Uint32())
	}
	w.must(os.Mkdir(filepath.Join(w.dir, "htdocs"), 0o755))
	w.file("htdocs/file", string(content))
	return content
}

// serveQUIC starts an HTTP/3 server until the test ends.
func (w *world) serveQUIC(at netip.AddrPort) {
	w.t.Helper()
	key, cert := w.certificate()
	server, err := w.Upstream.Start("gtlsserver", "--quiet", "--htdocs", filepath.Join(w.dir, "htdocs"), at.Addr().String(),
		fmt.Sprint(at.Port()), key, cert)
	w.must(err)
	w.waitBound(server, at)
}

// waitBound waits until a server of the upstream's has bound a UDP port.
func (w *world) waitBound(server *netlab.Process, at netip.AddrPort) {
	w.t.Helper()
	waitFor(w.t, "a server on UDP port "+at.String(), func() bool {
		select {
		case <-server.Done():
			w.t.Fatalf("the server has ended: %s", server.Output())
		default:
		}
		out, err := w.Upstream.Command("ss", "-Hlun", "src "+at.String()).Output()
		return err == nil && len(out) > 0
	})
}

// download is a client at work.
type download struct {
	*netlab.Process
	t    *testing.T
	path string
}

func (w *world) startQUIC(t *testing.T, from netip.Addr) *download {
	t.Helper()
	dir := t.TempDir()
	p, err := w.Client.Start("gtlsclient", "--quiet", "--exit-on-all-streams-close", "--download="+dir, from.String(), "443",
		"https://anyport.example/file")
	w.must(err)
	return &download{p, t, filepath.Join(dir, "file")}
}

// waitFor waits until so many megabytes more have come.
func (d *download) waitFor(megabytes int64) {
	d.t.Helper()
	size := func() int64 {
		if info, err := os.Stat(d.path); err == nil {
			return info.Size()
		}
		return 0
	}
	end := size() + megabytes<<20
	waitFor(d.t, "the download to go on", func() bool { return size() >= end })
}

// mustRun fails if the download is over.
func (d *download) mustRun() {
	d.t.Helper()
	select {
	case <-d.Done():
		d.t.Fatalf("the download was over too soon: %s", d.Output())
	default:
	}
}

// check waits for the end and compares the files.
func (d *download) check(want []byte) {
	d.t.Helper()
	waitFor(d.t, "the end of the download", func() bool {
		select {
		case <-d.Done():
			return true
		default:
			return false
		}
	})
	got, err := os.ReadFile(d.path)
	if err != nil || !bytes.Equal(got, want) {
		d.t.Errorf("downloaded %d bytes, want %d: %v\n%.2000s", len(got), len(want), err, d.Output())
	}
}
