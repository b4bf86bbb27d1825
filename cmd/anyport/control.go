package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"anyport/proxy"
	"anyport/proxy/offload"
	"anyport/proxy/stats"
	"anyport/proxy/upstream"
)

// The control socket is how the other subcommands ask a running daemon: HTTP over a Unix socket that only root can
// open, at a path that holds the network namespace's inode, like the pins.

const controlDir = "/run/anyport"

func controlPath() (string, error) {
	inode, err := netnsInode()
	if err != nil {
		return "", err
	}
	return filepath.Join(controlDir, fmt.Sprintf("%d.sock", inode)), nil
}

// daemonStatus is what a daemon tells of itself; status prints it beside what the kernel says.
type daemonStatus struct {
	Version       string                  `json:"version"`
	PID           int                     `json:"pid"`
	Started       time.Time               `json:"started"`
	Config        string                  `json:"config"`
	Loaded        time.Time               `json:"loaded"` // when the configuration in force was
	Draining      bool                    `json:"draining"`
	Prefixes      []prefixStatus          `json:"prefixes"`
	Routes        []routeStatus           `json:"routes"`
	Names         []upstream.NameInfo     `json:"names"` // of upstreams, as DNS has them
	Unrouted      protocolTotals          `json:"unrouted"`
	Drops         map[string]uint64       `json:"udp_drops"`
	UDPSources    map[netip.Addr][]string `json:"udp_sources"` // NAT address -> port ranges
	UDPTransmit   proxy.TransmitInfo      `json:"udp_transmit"`
	Listeners     []proxy.ListenerInfo    `json:"listeners"` // for TCP clients that are told an MSS
	AccessLogLost uint64                  `json:"access_log_lost"`
	Offload       *offload.Status         `json:"offload,omitempty"` // null: no route wants it
}

type prefixStatus struct {
	Prefix     netip.Prefix `json:"prefix"`
	Open       bool         `json:"open"`
	LocalRoute bool         `json:"local_route"` // whether the kernel has it
}

type routeStatus struct {
	Name      string          `json:"name"`
	Action    string          `json:"action"`
	Upstreams []upstream.Info `json:"upstreams,omitempty"` // as resolved now
	protocolTotals
}

type protocolTotals struct {
	TCP stats.Totals `json:"tcp"`
	UDP stats.Totals `json:"udp"`
}

// daemonConfig is the configuration that a daemon has in force, and what it added to it.
type daemonConfig struct {
	File    string              `json:"file"`
	Text    string              `json:"text"`
	Replies proxy.ReplyPorts    `json:"replies"` // for proxy.WithReplies
	Dial    map[string][]string `json:"dial"`    // route -> upstreams as resolved now
}

// listenControl opens the control socket and serves d on it until close. A socket file that nobody answers on is
// replaced. One daemon at a time does this, so that of two that start together one finds the other.
func listenControl(d *daemon) (*webServer, error) {
	path, err := controlPath()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("make the control socket's directory: %w", err)
	}
	l, err := claimControl(path)
	if err != nil {
		return nil, err
	}
	return serveWeb(l, controlHandler(d), d.logger), nil
}

// claimControl returns a listener at path, unless one answers there.
func claimControl(path string) (net.Listener, error) {
	unlock, err := lockDir(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := removeDead(path); err != nil {
		return nil, err
	}
	return listenUnix(path)
}

// removeDeadControl removes the control socket that a daemon which was killed has left, if there is one.
func removeDeadControl(path string) error {
	unlock, err := lockDir(filepath.Dir(path))
	if errors.Is(err, os.ErrNotExist) {
		return nil // no daemon has run since the host started
	}
	if err != nil {
		return err
	}
	defer unlock()
	return removeDead(path)
}

// removeDead removes the socket file at path, unless somebody answers there. The caller holds the directory's lock.
func removeDead(path string) error {
	if c, err := net.Dial("unix", path); err == nil {
		c.Close()
		return hintError{fmt.Errorf("another anyport runs in this network namespace (%s answers)", path),
			"stop it first, or use a namespace of your own"}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove a dead control socket: %w", err)
	}
	return nil
}

// lockDir takes the directory's lock (flock(2)), which leaves no file behind, and returns what gives it back.
func lockDir(dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("lock the control socket's directory: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return func() { f.Close() }, nil
}

// listenUnix makes a socket that only the user who runs the daemon can connect to, from its first moment on: bind(2)
// gives the file the mode of the socket (unix_bind_bsd in net/unix/af_unix.c).
func listenUnix(path string) (net.Listener, error) {
	c := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		controlErr := raw.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), 0o600) })
		return errors.Join(controlErr, err)
	}}
	l, err := c.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, fmt.Errorf("open the control socket: %w", err)
	}
	return l, nil
}

func controlHandler(d *daemon) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, d.status()) })
	mux.HandleFunc("GET /config", func(w http.ResponseWriter, _ *http.Request) {
		c, ok := d.configInForce()
		if !ok {
			http.Error(w, "no configuration is in force yet", http.StatusServiceUnavailable)
			return
		}
		writeJSON(w, c)
	})
	return mux
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // fails only if the client has gone: these types always encode
}

// errNoDaemon is returned where no daemon answers in this network namespace.
var errNoDaemon = errors.New("no anyport is running in this network namespace")

// askDaemon fetches what from the daemon of this network namespace into answer.
func askDaemon(what string, answer any) error {
	path, err := controlPath()
	if err != nil {
		return err
	}
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		}}}
	r, err := client.Get("http://anyport/" + what)
	if errors.Is(err, os.ErrPermission) {
		return hintError{fmt.Errorf("ask the daemon: %w", err), "run it as root"}
	}
	if err != nil {
		return errNoDaemon
	}
	defer r.Body.Close()
	if r.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(r.Body, 1<<10)) // best effort: the status tells enough
		return fmt.Errorf("ask the daemon for %s: %s: %s", what, r.Status, bytes.TrimSpace(text))
	}
	if err := json.NewDecoder(r.Body).Decode(answer); err != nil {
		return fmt.Errorf("read the daemon's %s: %w", what, err)
	}
	return nil
}
