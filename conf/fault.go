package conf

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Fault is one thing that is wrong with a configuration, and where.
type Fault struct {
	File    string
	Line    int    // from 1; 0 where the file as a whole could not be read
	Key     string // "metrics", "route.ports"; "" for a fault of syntax
	Message string
	Hint    string // what to write instead; "" where the message says it all
}

// Error returns "file:line: key: message; hint", without the parts that are not set.
func (f Fault) Error() string {
	var b strings.Builder
	b.WriteString(f.File)
	if f.Line > 0 {
		fmt.Fprintf(&b, ":%d", f.Line)
	}
	if f.Key != "" {
		b.WriteString(": " + f.Key)
	}
	b.WriteString(": " + f.Message)
	if f.Hint != "" {
		b.WriteString("; " + f.Hint)
	}
	return b.String()
}

// Faults is everything that is wrong with a configuration, sorted by line. It is the error of Load and Parse.
type Faults []Fault

// Error returns one line per fault.
func (fs Faults) Error() string {
	lines := make([]string, len(fs))
	for i, f := range fs {
		lines[i] = f.Error()
	}
	return strings.Join(lines, "\n")
}

// sorted orders faults by line; those of one line keep the order they were found in.
func (fs Faults) sorted() Faults {
	slices.SortStableFunc(fs, func(a, b Fault) int { return cmp.Compare(a.Line, b.Line) })
	return fs
}

// finding is what the parser of a single value has against it; the decoder makes it a Fault by adding the place.
type finding struct {
	message, hint string
	meant         bool // the value returned beside it is what its writer surely meant, good enough to check others by
}

// refuse returns a finding with a hint, which may be empty.
func refuse(hint, format string, args ...any) *finding {
	return &finding{message: fmt.Sprintf(format, args...), hint: hint}
}
