package bench

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// WriteTable prints the result for a terminal.
func (r *Result) WriteTable(w io.Writer) error {
	e := r.Environment
	fmt.Fprintf(w, "%s: %s, %d cores, Linux %s, load %s, %.0f s, seed %d\n",
		r.Suite, e.CPU, e.Cores, e.Kernel, e.Load, r.Seconds, r.Seed)
	for _, work := range r.Works {
		if err := work.writeTable(w); err != nil {
			return err
		}
	}
	for _, l := range r.LeftOut {
		fmt.Fprintf(w, "left out: %s: %s\n", l.Subject, l.Why)
	}
	return nil
}

func (r *WorkResult) writeTable(w io.Writer) error {
	fmt.Fprintf(w, "\n%s, %s (less is better), median of %d rounds; ratio with its 95 %% interval\n",
		r.Name, r.Unit, len(r.Subjects[0].Series))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(t, "\tmedian\tquartiles")
	for _, reference := range r.References {
		fmt.Fprintf(t, "\tto %s", reference)
	}
	fmt.Fprintln(t, "\tlost")
	for _, s := range r.Subjects {
		fmt.Fprintf(t, "%s\t%.0f\t%.0f-%.0f", s.Name, s.Median, s.Q1, s.Q3)
		for i, c := range s.Against {
			fmt.Fprintf(t, "\t%s", c.text(s.Name, i == 0 && s.Name == r.Control))
		}
		fmt.Fprintf(t, "\t%d\n", s.Lost)
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("print the table: %w", err)
	}
	return nil
}

func (c Comparison) text(subject string, control bool) string {
	text := fmt.Sprintf("%.2f (%.2f-%.2f)", c.Median, c.Low, c.High)
	switch {
	case subject == c.Reference:
		return "1"
	case control:
		return text + " A/A control"
	case !c.Shown:
		return text + " no difference shown"
	}
	return text
}
