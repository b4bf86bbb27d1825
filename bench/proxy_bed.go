package bench

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"anyport/bench/netlab"
)

// proxyBed is one way from a client to an upstream, on a line of namespaces of its own, so that no subject's rules,
// sockets in TIME_WAIT or connection tracking touch another's.
type proxyBed struct {
	*netlab.Trio
	subject  *proxySubject
	logs     bool            // whether the subject writes an access log
	dir      string          // of the subject's files
	upstream *netlab.Process // the server that it leads to
	proxy    *netlab.Process // nil where the kernel forwards by itself
	pids     []int           // the proxy's
}

// proxyCPUs are the CPUs that client, proxy and upstream share, as a list for taskset(1).
const proxyCPUs = "0,1"

// proxyThreads is how many of them there are: client and upstream have a thread on each, a proxy has two workers.
const proxyThreads = 2

// newProxyBed makes the line and starts its upstream: self, as the helper of that
// name. The proxy is yet to be started.
func newProxyBed(s *session, subject *proxySubject, self, upstream string, logs bool) (b *proxyBed, err error) {
	b = &proxyBed{subject: subject, logs: logs}
	s.onClose(b.close)
	if b.dir, err = os.MkdirTemp("", "anyport-bench-"); err != nil {
		return nil, err
	}
	if b.Trio, err = s.lab.Trio(); err != nil {
		return nil, err
	}
	if err := subject.prepare(b); err != nil {
		return nil, err
	}
	b.upstream, err = b.Upstream.Start("taskset", "-c", proxyCPUs, self, upstream)
	return b, err
}

func (b *proxyBed) config() string { return filepath.Join(b.dir, "config") }

// accessLog is the file that the subject logs to.
func (b *proxyBed) accessLog() string { return filepath.Join(b.dir, "access.log") }

// start starts the proxy; ready is asked until it returns nil.
func (b *proxyBed) start(ready func() error) error {
	if b.subject.command != nil {
		if err := b.run(); err != nil {
			return fmt.Errorf("start %s: %w", b.subject.name, err)
		}
	}
	if err := b.wait(ready); err != nil {
		return fmt.Errorf("%s: %w\n%s\n%s", b.subject.name, err, b.output(), b.upstream.Output())
	}
	if b.proxy != nil {
		b.pids = groupPids(b.proxy.Pid())
	}
	return nil
}

func (b *proxyBed) run() error {
	if b.subject.config != nil {
		if err := os.WriteFile(b.config(), []byte(b.subject.config(b)), 0o644); err != nil {
			return err
		}
	}
	program, err := netlab.FindProgram(b.subject.command(b)[0])
	if err != nil {
		return err
	}
	line := slices.Concat([]string{"-c", proxyCPUs}, program, b.subject.command(b)[1:])
	cmd := b.Proxy.Command("taskset", line...)
	if b.logs && b.subject.logsToStdout {
		file, err := os.Create(b.accessLog())
		if err != nil {
			return err
		}
		defer file.Close()
		cmd.Stdout = file
	}
	b.proxy, err = b.Proxy.StartCmd(cmd)
	return err
}

func (b *proxyBed) output() string {
	if b.proxy == nil {
		return ""
	}
	return b.proxy.Output()
}

// proxyStartTime is more than any proxy needs to start.
const proxyStartTime = 20 * time.Second

func (b *proxyBed) wait(ready func() error) (err error) {
	for end := time.Now().Add(proxyStartTime); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if b.proxy != nil {
			select {
			case <-b.proxy.Done():
				return errors.New("it has ended instead of forwarding")
			default:
			}
		}
		if err = ready(); err == nil {
			return nil
		}
	}
	return fmt.Errorf("it does not forward: %w", err)
}

// stop ends the proxy: anyport, for one, has something to take away.
func (b *proxyBed) stop() error {
	if b.proxy == nil {
		return nil
	}
	err := b.proxy.Signal(syscall.SIGTERM)
	select {
	case <-b.proxy.Done():
	case <-time.After(10 * time.Second):
		b.proxy.Kill()
		err = errors.Join(err, fmt.Errorf("%s ignores SIGTERM", b.subject.name))
	}
	b.proxy, b.pids = nil, nil
	return err
}

func (b *proxyBed) close() error { return errors.Join(b.stop(), os.RemoveAll(b.dir)) }

// meter returns the CPU clocks of a measurement on the bed: this process is the client.
func (b *proxyBed) meter() *cpuMeter {
	return &cpuMeter{processes: b.pids, generators: []int{os.Getpid(), b.upstream.Pid()}, cpus: proxyThreads}
}
