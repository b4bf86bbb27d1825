package netlab

import (
	"bytes"
	"fmt"
	"os/exec"
	"slices"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Command returns a command that will run in the namespace, with the program that FindProgram finds. The caller runs
// it as any exec.Cmd. It leads a process group of its own; whatever it leaves behind dies with the lab.
func (n *Namespace) Command(name string, args ...string) *exec.Cmd {
	program, err := FindProgram(name)
	cmd := exec.Command("nsenter", slices.Concat([]string{"--net=" + n.Path(), "--"}, program, args)...)
	if err != nil {
		cmd.Err = err
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

// Process is a program that Start began and that the lab waits for.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed once the process has been waited for
	err  error         // of Wait; set before done is closed
	out  output
}

// Start runs a program in the namespace until it ends, Signal ends it, or the lab is closed; it is killed if this
// process dies. Its output, both kinds in one, is kept for Output.
func (n *Namespace) Start(name string, args ...string) (*Process, error) {
	return n.StartCmd(n.Command(name, args...))
}

// StartCmd is Start for a command that Command returned and the caller has changed. Where the caller has set Stdout or
// Stderr, that stream does not reach Output.
func (n *Namespace) StartCmd(cmd *exec.Cmd) (*Process, error) {
	p := &Process{cmd: cmd, done: make(chan struct{})}
	if cmd.Stdout == nil {
		cmd.Stdout = &p.out
	}
	if cmd.Stderr == nil {
		cmd.Stderr = &p.out
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	l := n.lab
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, errClosed
	}
	if err := l.starter.start(cmd); err != nil {
		return nil, fmt.Errorf("start %s in %s: %w", cmd.Args[2:], n.name, err)
	}
	l.procs = append(l.procs, p)
	go p.wait()
	return p, nil
}

func (p *Process) wait() {
	p.err = p.cmd.Wait()
	close(p.done)
}

// Pid returns the process's id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Wait waits for the end of the process and returns what exec.Cmd.Wait said.
func (p *Process) Wait() error {
	<-p.done
	return p.err
}

// ExitCode returns the exit code of a process that has ended, or -1 if a signal ended it.
func (p *Process) ExitCode() int {
	<-p.done
	return p.cmd.ProcessState.ExitCode()
}

// Signal sends the process a signal; a process that has ended is no error.
func (p *Process) Signal(sig syscall.Signal) error {
	select {
	case <-p.done:
		return nil
	default:
	}
	if err := unix.Kill(p.Pid(), sig); err != nil && err != unix.ESRCH {
		return fmt.Errorf("send %v to process %d: %w", sig, p.Pid(), err)
	}
	return nil
}

// Kill ends the process with all of its group and waits for it.
func (p *Process) Kill() {
	p.killGroup()
	<-p.done
}

func (p *Process) killGroup() {
	select {
	case <-p.done:
	default:
		_ = unix.Kill(-p.Pid(), unix.SIGKILL) // it may be gone already
	}
}

// Output returns what the process has printed so far, at most its last maxOutput bytes.
func (p *Process) Output() string { return p.out.String() }

// maxOutput is plenty for a failure message and nothing against a test's memory.
const maxOutput = 1 << 20

// output keeps the end of what is written to it.
type output struct {
	mu  sync.Mutex // guards the field below
	buf bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.buf.Write(b)
	if over := o.buf.Len() - maxOutput; over > 0 {
		o.buf.Next(over)
	}
	return len(b), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}
