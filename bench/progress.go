package bench

import (
	"fmt"
	"io"
	"time"
)

// Progress tells on a terminal what runs, how long it has taken and how much is left. A nil *Progress tells nothing.
type Progress struct {
	w     io.Writer
	width int    // of the line that is rewritten; 0: print a line for each step and round
	suite string // what Suite was told
	last  string
	round int // that the last line told of
}

// NewProgress returns a Progress that writes to w, rewriting one line if w is a terminal, whose width is not 0.
func NewProgress(w io.Writer, width int) *Progress {
	return &Progress{w: w, width: width, round: -1}
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
	if p.width > 0 {
		fmt.Fprintf(p.w, "\r\033[K%.*s", p.width-1, text) // a line that wraps cannot be rewritten
		return
	}
	fmt.Fprintln(p.w, text)
}

// Round tells which round of a plan begins with which work, and how long the rounds before it took.
func (p *Progress) Round(round int, since time.Duration, plan Plan, work string) {
	if p == nil {
		return
	}
	text := fmt.Sprintf("round %d of %d, %v gone", round+1, warmUp+plan.Rounds, since.Round(time.Second))
	if left := plan.left(round, since); left > 0 {
		text += fmt.Sprintf(", about %v left", left.Round(time.Second))
	}
	if p.width > 0 {
		text += ": " + work
	} else if round == p.round { // a line for each round is enough
		return
	}
	p.round = round
	p.Step("%s", text)
}

// left estimates how long it takes until the plan, and what comes after it, is done; 0 is not known.
func (p *Plan) left(round int, since time.Duration) time.Duration {
	if round == 0 {
		return p.Limit + p.Then
	}
	each := since / time.Duration(round)
	all, least := warmUp+p.Rounds-round, warmUp+min(leastRounds, p.Rounds)-round
	left := min(each*time.Duration(all), p.Limit-since+each) // a round that has begun is ended
	return max(left, each*time.Duration(least), 0) + p.Then
}

// Done clears the line.
func (p *Progress) Done() {
	if p != nil && p.width > 0 {
		fmt.Fprint(p.w, "\r\033[K")
	}
}
