package tcp

import (
	"golang.org/x/sys/unix"

	"anyport/proxy/sock"
)

// pipePool is a worker's pipes. A direction holds one only while there is data in it: while it splices, or when it has
// read what the other socket would not take. So the pool, not the number of connections, bounds what slow readers cost.
type pipePool struct {
	most   int // open at once
	bound  int // that the descriptors stay below
	slots  []pipeSlot
	idle   []pipeNumber // open and empty
	vacant []pipeNumber // slots without a pipe
	openAt tick         // when to try again to open one, after that has failed
}

type pipeSlot struct {
	sock.Pipe
	held int32 // bytes inside
}

// pipeNumber is a slot's index plus 1.
type pipeNumber uint16

const (
	// maxPipes bounds the pipes of one worker to 256 MiB. A user without CAP_SYS_RESOURCE has a quarter of that for
	// all workers (fs.pipe-user-pages-soft), after which opening fails.
	maxPipes     = 256
	maxIdlePipes = 16
)

func (p *pipePool) at(n pipeNumber) *pipeSlot { return &p.slots[n-1] }

// ready reports whether get will return a pipe. It opens one if it may and must, but after a failure not before the
// next tick: without a pipe, data is peeked at and left where it is.
func (p *pipePool) ready(now tick) bool {
	return len(p.idle) > 0 || !now.before(p.openAt) && p.open(now)
}

func (p *pipePool) open(now tick) bool {
	if len(p.slots)-len(p.vacant) >= p.most {
		return false
	}
	pipe, err := sock.NewPipe()
	if err == nil && max(pipe.R, pipe.W) >= p.bound {
		pipe.Close()
		err = unix.EMFILE
	}
	if err != nil {
		p.openAt = now + 1
		return false
	}
	n := p.vacate()
	*p.at(n) = pipeSlot{Pipe: pipe}
	p.idle = append(p.idle, n)
	return true
}

func (p *pipePool) vacate() pipeNumber {
	if last := len(p.vacant) - 1; last >= 0 {
		n := p.vacant[last]
		p.vacant = p.vacant[:last]
		return n
	}
	p.slots = append(p.slots, pipeSlot{})
	return pipeNumber(len(p.slots))
}

// get takes an empty pipe out. The pool must be ready.
func (p *pipePool) get() pipeNumber {
	last := len(p.idle) - 1
	n := p.idle[last]
	p.idle = p.idle[:last]
	return n
}

// put takes a pipe back. One that still holds data, or that is one too many, is closed; 0 is no pipe.
func (p *pipePool) put(n pipeNumber) {
	switch {
	case n == 0:
	case p.at(n).held > 0 || len(p.idle) == maxIdlePipes:
		p.close(n)
	default:
		p.idle = append(p.idle, n)
	}
}

func (p *pipePool) close(n pipeNumber) {
	p.at(n).Close()
	p.vacant = append(p.vacant, n)
}

// closeIdle closes the pipes that no connection holds.
func (p *pipePool) closeIdle() {
	for _, n := range p.idle {
		p.close(n)
	}
	p.idle = p.idle[:0]
}
