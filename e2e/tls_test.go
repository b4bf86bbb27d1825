package e2e

import (
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"anyport/bench/netlab"
)

// TestTLS lets openssl check the certificate of a TLS server behind the proxy, by a random port of each family.
func TestTLS(t *testing.T) {
	netlab.RequireRoot(t)
	netlab.RequireProgram(t, "openssl")
	w := newWorld(t)
	key, cert := w.certificate()
	server, err := w.Upstream.Start("openssl", "s_server", "-quiet", "-rev", "-accept", "8443", "-key", key, "-cert", cert)
	w.must(err)
	w.waitListening(w.Upstream, server, "10.2.0.2:8443")
	w.run(prefixes + `
[[route]]
upstream = ["10.2.0.2:8443"]
`)
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) { checkTLS(t, w, f.destination(w.rng), cert) })
	}
}

// certificate makes a key and a certificate for anyport.example, which it signs itself, and returns their files.
func (w *world) certificate() (key, cert string) {
	w.t.Helper()
	key, cert = filepath.Join(w.dir, "key.pem"), filepath.Join(w.dir, "cert.pem")
	_, errs, status := runShort(w.t, w.Upstream.Command("openssl", "req", "-x509", "-newkey", "ec",
		"-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key, "-out", cert, "-days", "2",
		"-subj", "/CN=anyport.example", "-addext", "subjectAltName=DNS:anyport.example"))
	if status != 0 {
		w.t.Fatal(errs)
	}
	return key, cert
}

// checkTLS sends a line to `openssl s_server -rev`, which answers with the line reversed, and ends at "CLOSE".
func checkTLS(t *testing.T, w *world, to netip.AddrPort, cert string) {
	client := w.Client.Command("sh", "-c", `printf 'anyport\nCLOSE\n' | openssl s_client -connect "$1" -CAfile "$2" \
		-servername anyport.example -verify_hostname anyport.example -verify_return_error -quiet`,
		"sh", to.String(), cert)
	out, errs, status := runShort(t, client)
	if status != 0 || !strings.Contains(out, "tropyna") {
		t.Errorf("openssl s_client -connect %s ended with %d, printed %q\n%s", to, status, out, errs)
	}
}
