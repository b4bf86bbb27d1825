package answer_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"anyport/bench/netlab"
)

// peer is another name server with the same zones, on a loopback address.
type peer struct {
	name   string
	server string // address to ask
	conn   *dns.Conn
}

// nsdConfig and knotConfig are filled with a folder, an address, a port and the zones.
const nsdConfig = `server:
	server-count: 1
	ip-address: %[2]s
	port: %[3]d
	username: ""
	chroot: ""
	zonesdir: "%[1]s"
	pidfile: "%[1]s/nsd.pid"
	database: ""
	xfrdfile: "%[1]s/xfrd.state"
	zonelistfile: "%[1]s/zone.list"
	xfrdir: "%[1]s"
	rrl-ratelimit: 0
remote-control:
	control-enable: no
%[4]s`

const knotConfig = `server:
    rundir: "%[1]s"
    listen: %[2]s@%[3]d
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
database:
    storage: "%[1]s/knotdb"
log:
  - target: stderr
    any: warning
template:
  - id: default
    storage: "%[1]s"
    zonefile-sync: -1
    journal-content: none
    semantic-checks: soft
zone:
%[4]s`

// startNSD and startKnot start a peer that serves the zones of the files ORIGINzone in dir.
func startNSD(t *testing.T, dir string, origins []string) *peer {
	var zones strings.Builder
	for _, o := range origins {
		fmt.Fprintf(&zones, "zone:\n\tname: %q\n\tzonefile: \"%szone\"\n", o, o)
	}
	const address, port = "127.53.7.1", 5301
	config := writeConfig(t, dir, "nsd.conf", fmt.Sprintf(nsdConfig, dir, address, port, &zones))
	return startPeer(t, fmt.Sprintf("%s:%d", address, port), origins[0], "nsd", "-d", "-c", config)
}

func startKnot(t *testing.T, dir string, origins []string) *peer {
	var zones strings.Builder
	for _, o := range origins {
		fmt.Fprintf(&zones, "  - domain: %q\n    file: \"%szone\"\n", o, o)
	}
	const address, port = "127.53.7.2", 5302
	config := writeConfig(t, dir, "knot.conf", fmt.Sprintf(knotConfig, dir, address, port, &zones))
	return startPeer(t, fmt.Sprintf("%s:%d", address, port), origins[0], "knotd", "-c", config)
}

func writeConfig(t *testing.T, dir, name, text string) string {
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// startPeer runs a server until the test ends, and waits until it answers for the last zone.
func startPeer(t *testing.T, server, zone, name string, args ...string) *peer {
	netlab.RequireProgram(t, name)
	line, err := netlab.FindProgram(name)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(line[0], append(line[1:], args...)...)
	var log strings.Builder
	cmd.Stderr = &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &peer{name: name, server: server}
	t.Cleanup(func() {
		if p.conn != nil {
			p.conn.Close()
		}
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	q := new(dns.Msg).SetQuestion(zone, dns.TypeSOA)
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if m, err := p.exchange(q); err == nil && m.Rcode == dns.RcodeSuccess {
			return p
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s does not answer on %s: %s", name, server, log.String())
		}
	}
}

// exchange asks over TCP, so that nothing is cut.
func (p *peer) exchange(q *dns.Msg) (*dns.Msg, error) {
	if p.conn == nil {
		c, err := net.DialTimeout("tcp", p.server, time.Second)
		if err != nil {
			return nil, err
		}
		p.conn = &dns.Conn{Conn: c}
	}
	_ = p.conn.SetDeadline(time.Now().Add(5 * time.Second))
	err := p.conn.WriteMsg(q)
	if err == nil {
		var m *dns.Msg
		if m, err = p.conn.ReadMsg(); err == nil {
			return m, nil
		}
	}
	p.conn.Close()
	p.conn = nil
	return nil, err
}
