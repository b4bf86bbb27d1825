package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"anyport/bench/netlab"
)

// Options says how much a suite measures.
type Options struct {
	Quick    bool // at most 40 s
	Seed     uint64
	Version  string   // of anyport, for the result
	Command  []string // that runs the suite, for the result
	Progress *Progress
}

// Suite is a set of works that one command runs.
type Suite struct {
	Name     string
	About    string   // one line for the usage text
	programs []string // whose versions the result tells
	// run builds what is measured and measures it. What it has made outside the lab it leaves to session.onClose.
	run func(context.Context, *session) ([]WorkResult, error)
}

// Suites are all there are, in the order in which they run.
var Suites = []Suite{steerSuite, tcpSuite, udpSuite, dnsSuite}

// FindSuite returns the suite of that name.
func FindSuite(name string) (*Suite, bool) {
	i := slices.IndexFunc(Suites, func(s Suite) bool { return s.Name == name })
	if i < 0 {
		return nil, false
	}
	return &Suites[i], true
}

// session is one run of a suite.
type session struct {
	Options
	lab     *netlab.Lab
	rng     *rand.Rand
	leftOut []LeftOut
	cleanup []func() error // in reverse order
}

// Run runs the suite, which needs root. A done ctx ends it with ctx's error, after clean-up.
func (s *Suite) Run(ctx context.Context, o Options) (result *Result, err error) {
	started := time.Now()
	lab, err := netlab.Open()
	if err != nil {
		return nil, err
	}
	session := &session{Options: o, lab: lab, rng: rand.New(rand.NewPCG(o.Seed, 1))}
	defer func() {
		session.step("cleaning up")
		err = errors.Join(session.close(), lab.Close(), err) // the reason last, where it is read first
		o.Progress.Done()
	}()
	environment := Describe(o.Version, s.programs...)
	measured, err := s.run(ctx, session)
	if err != nil {
		return nil, err
	}
	return &Result{
		Schema: Schema, Suite: s.Name, Command: o.Command, Started: started.UTC(), Seconds: time.Since(started).Seconds(),
		Seed: o.Seed, Environment: environment, Works: measured, LeftOut: session.leftOut,
	}, nil
}

// step tells of one step of the preparation.
func (s *session) step(format string, args ...any) {
	s.Progress.Step(format, args...)
}

// leaveOut notes that a subject cannot be measured here.
func (s *session) leaveOut(subject, why string) {
	s.leftOut = append(s.leftOut, LeftOut{Subject: subject, Why: why})
}

// onClose has f called at the end, however the run ends.
func (s *session) onClose(f func() error) { s.cleanup = append(s.cleanup, f) }

func (s *session) close() error {
	var errs []error
	for i := len(s.cleanup) - 1; i >= 0; i-- {
		errs = append(errs, s.cleanup[i]())
	}
	return errors.Join(errs...)
}

// missingProgram says that a program is missing and which Debian package has it, or "".
func missingProgram(program, pkg string) string {
	if _, err := netlab.FindProgram(program); err != nil {
		return fmt.Sprintf("there is no %s (Debian package %s)", program, pkg)
	}
	return ""
}

// findAnyport returns the path of anyport, beside this program or from PATH.
func findAnyport() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find this program: %w", err)
	}
	beside := filepath.Join(filepath.Dir(self), "anyport")
	if _, err := os.Stat(beside); err == nil {
		return beside, nil
	}
	return exec.LookPath("anyport")
}
