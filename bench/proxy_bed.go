package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"anyport/bench/netlab"
)

// proxyBed is one way from a client to an upstream, on a line of namespaces of its own, so that no subject's rules,
// sockets in TIME_WAIT or connection tracking touch another's.
type proxyBed struct {
	*netlab.Trio
	proxyLine
	subject *proxySubject
	dir     string                   // of the subject's files
	server  *netlab.Process          // the upstream
	proxy   *netlab.Process          // nil where the kernel forwards by itself
	pids    []int                    // the proxy's
	flows   map[string]*flowSequence // by work, of the udp suite
	marked  bool                     // whether the rules have the marker, of the operations
}

// proxyThreads is how many CPUs client, proxy and upstream share, the first ones: client and upstream have a thread on
// each, a proxy has two workers.
const proxyThreads = 2

// measured runs what follows it on these CPUs. Their priority is the usual one: kernel threads, which have that, would
// stand back behind a higher one, and TCP would stall.
var measured = []string{"taskset", "-c", "0,1"}

// proxyLine is what all beds of a suite have in common.
type proxyLine struct {
	self     string                // this program
	upstream string                // the helper that is the upstream
	logs     bool                  // whether subjects write access logs
	ready    func(*proxyBed) error // returns nil once the upstream answers
	many     int                   // UDP flows of the works that have many
}

// proxyBeds starts the subjects that are here.
func (s *session) proxyBeds(ctx context.Context, subjects []proxySubject, line proxyLine) (beds []*proxyBed, err error) {
	for i := range subjects {
		subject := &subjects[i]
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		s.step("starting %s", subject.name)
		if why := subject.missing(); why != "" {
			s.leaveOut(subject.name, why)
			continue
		}
		b, err := newProxyBed(s, subject, line)
		if err != nil {
			return nil, fmt.Errorf("prepare %s: %w", subject.name, err)
		}
		if err := b.start(); err != nil {
			return nil, err
		}
		if why := subject.unable(b); why != "" {
			s.leaveOut(subject.name, why)
			continue
		}
		beds = append(beds, b)
	}
	return beds, nil
}

// newProxyBed makes the line and starts its upstream. The proxy is yet to be started.
func newProxyBed(s *session, subject *proxySubject, line proxyLine) (b *proxyBed, err error) {
	b = &proxyBed{subject: subject, proxyLine: line}
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
	command := slices.Concat(measured, []string{line.self, line.upstream})
	b.server, err = b.Upstream.Start(command[0], command[1:]...)
	return b, err
}

func (b *proxyBed) config() string { return filepath.Join(b.dir, "config") }

// accessLog is the file that the subject logs to.
func (b *proxyBed) accessLog() string { return filepath.Join(b.dir, "access.log") }

// start starts the proxy and waits until it forwards.
func (b *proxyBed) start() error {
	b.flows = nil
	if b.subject.command != nil {
		if err := b.run(); err != nil {
			return fmt.Errorf("start %s: %w", b.subject.name, err)
		}
	}
	if err := b.wait(); err != nil {
		err = withOutput(fmt.Errorf("%s: %w", b.subject.name, err), "the upstream", b.server)
		return withOutput(err, b.subject.name, b.proxy)
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
	line := slices.Concat(measured, program, b.subject.command(b)[1:])
	cmd := b.Proxy.Command(line[0], line[1:]...)
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

// withOutput puts what a process has printed in front of an error, so that the reason stays last.
func withOutput(err error, name string, p *netlab.Process) error {
	if p == nil || strings.TrimSpace(p.Output()) == "" {
		return err
	}
	return fmt.Errorf("%s printed:\n%s\n%w", name, strings.TrimSpace(p.Output()), err)
}

// proxyStartTime is more than any proxy needs to start.
const proxyStartTime = 20 * time.Second

func (b *proxyBed) wait() (err error) {
	for end := time.Now().Add(proxyStartTime); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if b.proxy != nil {
			select {
			case <-b.proxy.Done():
				return errors.New("it has ended instead of forwarding")
			default:
			}
		}
		if err = b.ready(b); err == nil {
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
	return &cpuMeter{processes: b.pids, generators: []int{os.Getpid(), b.server.Pid()}, cpus: proxyThreads}
}
