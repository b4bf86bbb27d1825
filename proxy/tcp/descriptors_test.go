package tcp

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"anyport/bench/netlab"
	"anyport/proxy/stats"
)

// These tell a copy of the test binary to run TestServeParent with this upstream and so many descriptors.
const (
	envServer      = "ANYPORT_TEST_SERVE_UPSTREAM"
	envDescriptors = "ANYPORT_TEST_DESCRIPTORS"
)

// TestServeParent is no test of its own: it is the other process of TestDescriptorsRunOut. It prints the addresses of its
// two listeners and does what the parent writes, a command a line.
func TestServeParent(t *testing.T) {
	if os.Getenv(envServer) == "" {
		return
	}
	up := netip.MustParseAddrPort(os.Getenv(envServer))
	answers := os.NewFile(3, "answers")
	t.Cleanup(func() { answers.Close() })
	if err := setDescriptorLimit(os.Getenv(envDescriptors)); err != nil {
		t.Fatal(err)
	}
	var hogged []*os.File
	r := newRig(t, v4, setup{upstreams: []netip.AddrPort{up}})
	_, second := r.listenMore()
	fmt.Fprintln(answers, r.addr, second)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		command, value, _ := strings.Cut(lines.Text(), " ")
		switch command {
		case "limit":
			fmt.Fprintln(answers, setDescriptorLimit(value))
		case "hog":
			hogged = hog()
			fmt.Fprintln(answers, len(hogged))
		case "free":
			for _, f := range hogged {
				f.Close()
			}
			fmt.Fprintln(answers, len(hogged))
		case "cpu":
			fmt.Fprintln(answers, cpuTime().Milliseconds())
		case "refused":
			fmt.Fprintln(answers, r.totals().Ended[stats.NoDescriptor.String()])
		}
	}
	setDescriptorLimit("1024")
}

// hog takes every descriptor that is free.
func hog() (files []*os.File) {
	for {
		f, err := os.Open(os.DevNull)
		if err != nil {
			return files
		}
		files = append(files, f)
	}
}

func setDescriptorLimit(value string) error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	if _, err := fmt.Sscan(value, &limit.Cur); err != nil {
		return err
	}
	return unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
}

func cpuTime() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// child is the process that runs TestServeParent.
type child struct {
	*rig     // only what dials: t and addr
	turns    atomic.Uint32
	second   netip.AddrPort // of the other listener
	commands io.Writer
	answers  *bufio.Scanner
}

func newChild(t *testing.T, upstream netip.AddrPort, descriptors int) *child {
	t.Helper()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestServeParent$", "-test.v=false")
	cmd.Env = append(os.Environ(), envServer+"="+upstream.String(), fmt.Sprintf("%s=%d", envDescriptors, descriptors))
	cmd.ExtraFiles = []*os.File{write}
	var output strings.Builder
	cmd.Stdout, cmd.Stderr = &output, &output
	commands, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	write.Close()
	t.Cleanup(func() {
		commands.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the other process: %v\n%s", err, output.String())
		}
		read.Close()
	})
	c := &child{rig: &rig{t: t}, commands: commands, answers: bufio.NewScanner(read)}
	first, second, _ := strings.Cut(c.answer(), " ")
	c.addr, c.second = netip.MustParseAddrPort(first), netip.MustParseAddrPort(second)
	return c
}

// next returns the listeners' addresses in turn.
func (c *child) next() string {
	if c.turns.Add(1)%2 == 0 {
		return c.addr.String()
	}
	return c.second.String()
}

func (c *child) answer() string {
	c.t.Helper()
	if !c.answers.Scan() {
		c.t.Fatalf("the other process does not answer: %v", c.answers.Err())
	}
	return c.answers.Text()
}

// do gives a command and returns the answer.
func (c *child) do(command string) string {
	c.t.Helper()
	if _, err := fmt.Fprintln(c.commands, command); err != nil {
		c.t.Fatal(err)
	}
	return c.answer()
}

// tryEcho returns a new connection that is served, or nil if it was reset.
func (c *child) tryEcho() *peer {
	c.t.Helper()
	conn, err := net.DialTimeout("tcp", c.next(), patience)
	if errors.Is(err, syscall.ECONNRESET) {
		return nil
	}
	if err != nil {
		c.t.Fatal(err)
	}
	p := newPeer(c.t, "client", conn)
	_, err = p.Write(noise[:some])
	if err == nil {
		_, err = io.ReadFull(p, make([]byte, some))
	}
	switch {
	case err == nil:
		return p
	case !isReset(err):
		c.t.Fatalf("neither served nor reset: %v", err)
	}
	return nil
}

// serveEcho sends back what it gets.
func (s *server) serveEcho() {
	for {
		c, err := s.Accept()
		if err != nil {
			return
		}
		s.serving.Go(func() { echo(c) })
	}
}

func echo(c net.Conn) {
	defer c.Close()
	io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c}) // hiding what lets io.Copy splice: it keeps pipes open
}

// Without descriptors, connections are reset and those that there are go on; a loop that cannot accept waits and does
// not spin, and accepts again when it can.
func TestDescriptorsRunOut(t *testing.T) {
	up := newServer(t, v4.upstream)
	up.serving.Go(up.serveEcho)
	for _, limit := range []int{64, 65} { // so that the last one is missed in accept once, and in socket once
		t.Run(fmt.Sprint(limit), func(t *testing.T) { testDescriptorsRunOut(t, up, limit) })
	}
}

func testDescriptorsRunOut(t *testing.T, up *server, limit int) {
	c := newChild(t, up.addr, limit)
	served := c.fill(t)
	if free := c.number("hog"); free < limit/8 {
		t.Errorf("connections have left %d of %d descriptors to others", free, limit)
	}
	c.crowd()
	for _, p := range served {
		p.echoAgain()
	}
	c.number("free")
	for _, p := range served[:len(served)/2] {
		p.Close()
	}
	netlab.Eventually(t, "connections are served again", func() bool { return c.tryEcho() != nil })
	c.starve(t)
}

// fill opens connections until they are reset, and returns those that are served.
func (c *child) fill(t *testing.T) (served []*peer) {
	t.Helper()
	refused := 0
	for range 60 {
		if p := c.tryEcho(); p != nil {
			served = append(served, p)
		} else {
			refused++
		}
	}
	if len(served) < 10 || refused < 10 {
		t.Fatalf("%d connections served and %d reset", len(served), refused)
	}
	if got := c.number("refused"); got != refused {
		t.Errorf("%d connections are counted as refused, %d were", got, refused)
	}
	return served
}

// crowd has some clients try at once, so that the workers take descriptors from each other: each client gets its answer
// all the same, and does not wait for the next round to wake a worker.
func (c *child) crowd() {
	for range 300 {
		var clients sync.WaitGroup
		for range 4 {
			clients.Go(c.tryOnce)
		}
		clients.Wait()
	}
}

// tryOnce reports an error if a new connection is neither served nor reset.
func (c *child) tryOnce() {
	conn, err := net.DialTimeout("tcp", c.next(), patience)
	if err == nil {
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(patience))
		if _, err = conn.Write(noise[:some]); err == nil {
			_, err = io.ReadFull(conn, make([]byte, some))
		}
	}
	if err != nil && !isReset(err) {
		c.t.Errorf("neither served nor reset: %v", err)
	}
}

// isReset reports whether err says that the peer has reset the connection.
func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// starve takes away even the descriptor in reserve for a second, while a connection waits to be accepted.
func (c *child) starve(t *testing.T) {
	t.Helper()
	c.expectOK("limit 3")
	waiting := []*peer{c.dial(), c.dialAt(c.second)}
	before := c.number("cpu")
	time.Sleep(time.Second)
	if used := c.number("cpu") - before; used > 300 {
		t.Errorf("%d ms of processor time used in a second in which nothing could be done", used)
	}
	c.expectOK("limit 1024")
	for _, p := range waiting {
		p.echoAgain()
	}
}

func (c *child) expectOK(command string) {
	c.t.Helper()
	if got := c.do(command); got != "<nil>" {
		c.t.Fatalf("%s: %s", command, got)
	}
}

// number gives a command whose answer is a number.
func (c *child) number(command string) (n int) {
	c.t.Helper()
	if _, err := fmt.Sscan(c.do(command), &n); err != nil {
		c.t.Fatalf("%s: %v", command, err)
	}
	return n
}

// echoAgain sends something and reads it back.
func (p *peer) echoAgain() {
	p.t.Helper()
	p.sent, p.received = 0, 0
	p.send(some)
	p.expect(some)
}
