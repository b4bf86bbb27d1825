package bench

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// WriteTable prints the result for a terminal.
func (r *Result) WriteTable(w io.Writer) error {
	e := r.Environment
	fmt.Fprintf(w, "%s: %s, %d cores, Linux %s, load %s, %.0f s, seed %d\n",
		r.Suite, e.CPU, e.Cores, e.Kernel, e.Load, r.Seconds, r.Seed)
	for i := range r.Works {
		for j := range r.Works[i].Figures {
			if err := r.Works[i].writeFigure(w, j); err != nil {
				return err
			}
		}
	}
	for _, l := range r.LeftOut {
		fmt.Fprintf(w, "left out: %s: %s\n", l.Subject, l.Why)
	}
	return nil
}

// writeFigure prints the table of one figure. That of the first one also tells what was lost, and how busy the load
// generator was.
func (r *WorkResult) writeFigure(w io.Writer, figure int) error {
	f := &r.Figures[figure]
	fmt.Fprintf(w, "\n%s: %s (%s is better), median of %d rounds; ratio with its 95 %% interval\n",
		r.Name, f.Title(), f.Better, len(f.Subjects[0].Series))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(t, "\tmedian\tquartiles")
	for _, reference := range r.References {
		fmt.Fprintf(t, "\tto %s", reference)
	}
	if figure == 0 {
		fmt.Fprint(t, "\tgenerator\tlost\terrors")
	}
	fmt.Fprintln(t)
	for i, s := range f.Subjects {
		fmt.Fprintf(t, "%s\t%s\t%s-%s", s.Name, Number(s.Median), Number(s.Q1), Number(s.Q3))
		for j, reference := range r.References {
			fmt.Fprintf(t, "\t%s", s.To(reference).Text(s.Name, j == 0 && s.Name == r.Control))
		}
		if figure == 0 {
			c := &r.Subjects[i]
			fmt.Fprintf(t, "\t%s\t%d\t%d", c.Busy(), Total(c.Lost), Total(c.Errors))
		}
		fmt.Fprintln(t)
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("print the table: %w", err)
	}
	return nil
}

// Title is the figure's name with its unit. A count has none.
func (f *FigureResult) Title() string {
	if f.Unit == "" {
		return f.Name
	}
	return f.Name + ", " + f.Unit
}

// Text is how tables show the comparison of a subject; control tells that it is the A/A control's with the first
// reference. A nil *Comparison is none.
func (c *Comparison) Text(subject string, control bool) string {
	switch {
	case c == nil:
		return "-"
	case subject == c.Reference:
		return "1"
	case control:
		return c.Ratio.String() + " A/A control"
	case !c.Shown:
		return c.Ratio.String() + " no difference shown"
	}
	return c.Ratio.String()
}

// String prints the ratio with its interval.
func (r Ratio) String() string { return fmt.Sprintf("%.2f (%.2f-%.2f)", r.Median, r.Low, r.High) }

// fullyBusy is the share from which on a load generator is the limit itself, and the subject may be faster than shown.
const fullyBusy = 0.95

// Busy is how tables show the median share that the load generator was busy.
func (s *SubjectResult) Busy() string {
	share := Summarise(s.Generator).Median
	switch {
	case share >= fullyBusy:
		return fmt.Sprintf("%.0f %%, the limit", 100*share)
	case share > 0:
		return fmt.Sprintf("%.0f %%", 100*share)
	}
	return "-"
}

// Total adds the values of all rounds.
func Total(series []int) (sum int) {
	for _, n := range series {
		sum += n
	}
	return sum
}

// Number prints a value with three or four digits that count.
func Number(v float64) string {
	switch {
	case v >= 99.95:
		return fmt.Sprintf("%.0f", v)
	case v >= 9.995:
		return fmt.Sprintf("%.1f", v)
	}
	text := fmt.Sprintf("%.2f", v)
	return strings.TrimSuffix(text, ".00")
}
