package zone

import (
	"errors"
	"fmt"
)

// Fault is what is wrong with a zone file, and where.
type Fault struct {
	File string
	Line int // from 1; 0 if the fault is not that of a line
	Text string
}

// Error returns "file:line: text".
func (f Fault) Error() string {
	if f.Line == 0 {
		return fmt.Sprintf("%s: %s", f.File, f.Text)
	}
	return fmt.Sprintf("%s:%d: %s", f.File, f.Line, f.Text)
}

// faults collects what is wrong, up to a bound that no reader gets past.
type faults struct {
	list []error
	more int
}

const maxFaults = 20

func (f *faults) add(fault Fault) {
	if len(f.list) == maxFaults {
		f.more++
		return
	}
	f.list = append(f.list, fault)
}

func (f *faults) err() error {
	if f.more > 0 {
		return errors.Join(append(f.list, fmt.Errorf("and %d more", f.more))...)
	}
	return errors.Join(f.list...)
}
