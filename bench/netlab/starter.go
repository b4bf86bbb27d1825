package netlab

import (
	"os/exec"
	"runtime"
)

// starter starts processes from one thread that lives as long as the lab: Pdeathsig kills a process when the thread
// that started it ends, and Go ends threads (prctl(2), PR_SET_PDEATHSIG; golang.org/issue/27505).
type starter struct {
	commands chan *exec.Cmd
	results  chan error
}

func newStarter() *starter {
	s := &starter{make(chan *exec.Cmd), make(chan error)}
	go s.loop()
	return s
}

func (s *starter) loop() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for cmd := range s.commands {
		s.results <- cmd.Start()
	}
	close(s.results)
}

// start is called by one goroutine at a time.
func (s *starter) start(cmd *exec.Cmd) error {
	s.commands <- cmd
	return <-s.results
}

func (s *starter) close() {
	close(s.commands)
	<-s.results
}
