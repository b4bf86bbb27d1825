package bench

import (
	"fmt"
	"io"
	"time"
)

// Progress tells on a terminal what runs, how long it has taken and how much is left. A nil *Progress tells nothing.
type Progress struct {
	w     io.Writer
	live  bool   // rewrite one line; else print a line for each step and round
	suite string // what Suite was told
	last  string
	round int // that the last line told of
}

// NewProgress returns a Progress that writes to w, rewriting one line if w is a terminal.
func NewProgress(w io.Writer, terminal bool) *Progress {
	return &Progress{w: w, live: terminal, round: -1}
}

// Suite tells which suite of how many comes next.
func (p *Progress) Suite(name string, number, of int) {
	if p == nil {
		return
	}
	p.suite, p.round = name, -1
	if of > 1 {
		p.suite = fmt.Sprintf("%s (suite %d of %d)", name, number, of)
	}
}

// Step tells of one step of the preparation.
func (p *Progress) Step(format string, args ...any) {
	if p == nil {
		return
	}
	text := fmt.Sprintf(format, args...)
	if p.suite != "" {
		text = p.suite + ": " + text
	}
	if text == p.last {
		return
	}
	p.last = text
	if p.live {
		fmt.Fprintf(p.w, "\r\033[K%s", text)
		return
	}
	fmt.Fprintln(p.w, text)
}

// Round tells which round of how many of a plan goes on with which work, and how long the rounds have taken.
func (p *Progress) Round(round, rounds int, since time.Duration, plan Plan, work string) {
	if p == nil {
		return
	}
	left := plan.Limit - since
	if round > 0 {
		left = min(left, since/time.Duration(round)*time.Duration(rounds-round))
	}
	text := fmt.Sprintf("round %d of %d, %v gone, at most %v left",
		round+1, rounds, since.Round(time.Second), (max(left, 0) + plan.Then).Round(time.Second))
	if p.live {
		text += ": " + work
	} else if round == p.round { // a line for each round is enough
		return
	}
	p.round = round
	p.Step("%s", text)
}

// Done clears the line.
func (p *Progress) Done() {
	if p != nil && p.live {
		fmt.Fprint(p.w, "\r\033[K")
	}
}
