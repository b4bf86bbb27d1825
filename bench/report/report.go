// Package report turns results of the benchmark into one HTML page that needs nothing else: plots are SVG inside it, no
// script, font or picture comes from elsewhere, and it is made for paper as well as for a screen.
//
// It is a package of its own because it draws with gonum/plot, which must not get into the daemon.
package report

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"anyport/bench"
)

//go:embed report.gohtml
var page string

var pageTemplate = template.Must(template.New("report").Funcs(template.FuncMap{
	"plot":      plotted,
	"title":     func(f bench.FigureResult) string { return f.Title() },
	"anchor":    anchor,
	"number":    bench.Number,
	"total":     bench.Total,
	"rounds":    rounds,
	"text":      comparisonText,
	"class":     comparisonClass,
	"command":   func(args []string) string { return strings.Join(args, " ") },
	"keys":      func(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) },
	"counts":    counts,
	"reference": reference,
	"control":   control,
}).Parse(page))

// Write makes the page of some results, in their order.
func Write(w io.Writer, results ...*bench.Result) error {
	if err := pageTemplate.Execute(w, results); err != nil {
		return fmt.Errorf("make the report: %w", err)
	}
	return nil
}

// WriteFile stores the page of some results as a file in a folder that exists, and returns its path.
func WriteFile(dir, name string, results ...*bench.Result) (string, error) {
	var b bytes.Buffer
	if err := Write(&b, results...); err != nil {
		return "", err
	}
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		return "", fmt.Errorf("write the report: %w", err)
	}
	return path, nil
}

// anchor is the target of links to a work: unique in a page, since a suite is in it once.
func anchor(r *bench.Result, work int) string { return fmt.Sprintf("%s-%d", r.Suite, work+1) }

func rounds(w bench.WorkResult) int { return len(w.Subjects[0].Lost) }

// counts returns what is known of a subject besides its figures.
func counts(w bench.WorkResult, name string) *bench.SubjectResult {
	i := slices.IndexFunc(w.Subjects, func(s bench.SubjectResult) bool { return s.Name == name })
	return &w.Subjects[i]
}

// reference returns what the first reference has in a figure, or nil.
func reference(w bench.WorkResult, f bench.FigureResult) *bench.FigureSeries {
	return f.Subject(w.References[0])
}

// control is the ratio of the A/A control in a figure.
func control(w bench.WorkResult, f bench.FigureResult) string {
	s := f.Subject(w.Control)
	if s == nil || s.To(w.References[0]) == nil {
		return "-"
	}
	return s.To(w.References[0]).Ratio.String()
}

func comparisonText(w bench.WorkResult, s bench.FigureSeries, reference int) string {
	return s.To(w.References[reference]).Text(s.Name, isControl(w, s, reference))
}

// isControl reports whether a comparison is the A/A control.
func isControl(w bench.WorkResult, s bench.FigureSeries, reference int) bool {
	return reference == 0 && s.Name == w.Control
}

// comparisonClass is the style of a comparison in tables.
func comparisonClass(w bench.WorkResult, s bench.FigureSeries, reference int) string {
	c := s.To(w.References[reference])
	if c == nil || s.Name == c.Reference || isControl(w, s, reference) || !c.Shown {
		return "none"
	}
	return "shown"
}
