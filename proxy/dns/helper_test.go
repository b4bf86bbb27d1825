package dns

import (
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// exampleZone has one of everything that the tests of this package ask for; big does not fit into UDP.
const exampleZone = `$ORIGIN example.test.
$TTL 300
@	SOA ns hostmaster 7 7200 3600 604800 60
	NS ns
ns	A 192.0.2.1
	AAAA 2001:db8::1
www	A 192.0.2.80
*.wild	TXT "wild"
alias	CNAME www
$GENERATE 0-99 big TXT "record-$-of-one-hundred-each-long-enough"
`

// writeZone writes a zone file and returns its path.
func writeZone(t testing.TB, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// loopback is a home that needs no privilege; tests without a network namespace ask it alone.
var loopback = netip.MustParseAddrPort("127.53.0.1:0")

// start runs a server until the test ends.
func start(t testing.TB, o Options) *Server {
	t.Helper()
	if o.Zones == nil {
		o.Zones = []string{writeZone(t, t.TempDir(), "example.test.zone", exampleZone)}
	}
	if !o.Home.IsValid() {
		o.Home = loopback
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.NewTextHandler(testWriter{t}, nil))
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	run(t, s)
	return s
}

// run runs s until the test ends.
func run(t testing.TB, s *Server) {
	ended := make(chan error, 1)
	go func() { ended <- s.Run() }()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
	})
}

// udpAddress and tcpAddress return where a server at loopback listens.
func (s *Server) udpAddress() string {
	return netip.AddrPortFrom(loopback.Addr(), s.port).String()
}

func (s *Server) tcpAddress() string { return s.tcp.Addr().String() }

// testWriter sends a log to the test's own.
type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s", strings.TrimSpace(string(p)))
	return len(p), nil
}
