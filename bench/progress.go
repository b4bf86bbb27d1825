package bench

import (
	"fmt"
	"io"
	"time"
)

// Progress tells on a terminal what runs and how much is left. A nil *Progress tells nothing.
type Progress struct {
	w    io.Writer
	live bool // rewrite one line; else print a line for each step and round
	last string
}

// NewProgress returns a Progress that writes to w, rewriting one line if w is a terminal.
func NewProgress(w io.Writer, terminal bool) *Progress { return &Progress{w: w, live: terminal} }

// Step tells of one step of the preparation.
func (p *Progress) Step(format string, args ...any) {
	if p == nil {
		return
	}
	text := fmt.Sprintf(format, args...)
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

// Round tells which round of how many goes on with which work, and the most time that is left.
func (p *Progress) Round(round, rounds int, left time.Duration, work string) {
	if p == nil {
		return
	}
	if p.live {
		left = max(left, 0).Round(time.Second)
		p.Step("round %d of %d: %s, at most %v left", round+1, rounds, work, left)
		return
	}
	p.Step("round %d of %d", round+1, rounds)
}

// Done clears the line.
func (p *Progress) Done() {
	if p != nil && p.live {
		fmt.Fprint(p.w, "\r\033[K")
	}
}
