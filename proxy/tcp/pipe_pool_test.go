package tcp

import (
	"math"
	"testing"

	"golang.org/x/sys/unix"
)

func TestPipePool(t *testing.T) {
	before := openFDs(t)
	p := pipePool{most: maxIdlePipes + 2, bound: math.MaxInt}
	var held []pipeNumber
	for range p.most {
		if !p.ready(0) {
			t.Fatalf("no pipe after %d of %d", len(held), p.most)
		}
		held = append(held, p.get())
	}
	if p.ready(0) {
		t.Error("more pipes than allowed")
	}
	p.put(0)
	full := p.at(held[0])
	full.held = 1
	p.put(held[0])
	if len(p.idle) != 0 {
		t.Error("a pipe with data inside is to be used again")
	}
	if !p.ready(0) || p.get() != held[0] {
		t.Error("the place of a closed pipe is not used again")
	}
	for _, n := range held {
		p.put(n)
	}
	if len(p.idle) != maxIdlePipes || openFDs(t) != before+2*maxIdlePipes {
		t.Errorf("%d pipes and %d descriptors idle", len(p.idle), openFDs(t)-before)
	}
	p.closeIdle()
	if n := openFDs(t); n != before {
		t.Errorf("%d descriptors are open, %d were before", n, before)
	}
}

func TestPipePoolTriesAgain(t *testing.T) {
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	p := pipePool{most: 1, bound: math.MaxInt}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	opened := p.ready(7)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	if opened || p.ready(7) {
		t.Error("a pipe although none could be opened in this tick")
	}
	if !p.ready(8) {
		t.Error("no pipe a tick later")
	}
	p.closeIdle()
}

func TestPipesLeaveDescriptors(t *testing.T) {
	before := openFDs(t)
	p := pipePool{most: 1, bound: 3} // standard input, output and error are below it
	if p.ready(0) {
		t.Error("a pipe has taken descriptors that are to stay free")
	}
	if n := openFDs(t); n != before {
		t.Errorf("%d descriptors are open, %d were before", n, before)
	}
	p.bound = math.MaxInt
	if p.ready(0) || !p.ready(1) {
		t.Error("the pool does not wait for the next tick before it tries again")
	}
	p.closeIdle()
}
