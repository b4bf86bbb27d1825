package report

import (
	"bytes"
	"fmt"
	"html/template"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"anyport/bench"
)

// Sizes on paper: A4 has 17 cm between its margins.
const (
	plotWidth = 17 * vg.Centimeter
	rowHeight = 0.52 * vg.Centimeter
	axisSpace = 1.5 * vg.Centimeter // axis, its numbers and its label
	textSize  = vg.Length(9)
)

// plotted draws how the subjects of a figure compare with the work's first reference, or nothing if none does.
func plotted(w bench.WorkResult, f bench.FigureResult) (template.HTML, error) {
	rows := rowsOf(w, f)
	if len(rows) == 0 {
		return "", nil
	}
	p := newPlot(w, f, rows)
	canvas := vgsvg.New(plotWidth, rowHeight*vg.Length(len(rows))+axisSpace)
	p.Draw(draw.New(canvas))
	var b bytes.Buffer
	if _, err := canvas.WriteTo(&b); err != nil {
		return "", fmt.Errorf("draw %s: %w", w.Name, err)
	}
	return inline(b.String(), description(w, f, rows)), nil
}

// row is one line of a plot, from top to bottom.
type row struct {
	name string
	bench.Comparison
	kind rowKind
}

type rowKind int

const (
	rowReference rowKind = iota // the reference itself: 1 by definition
	rowControl
	rowSame   // no difference is shown
	rowBetter // than the reference
	rowWorse
)

func rowsOf(w bench.WorkResult, f bench.FigureResult) []row {
	var rows []row
	for _, s := range f.Subjects {
		if c := s.To(w.References[0]); c != nil {
			rows = append(rows, row{s.Name, *c, kindOf(w, f, s.Name, c)})
		}
	}
	return rows
}

func kindOf(w bench.WorkResult, f bench.FigureResult, name string, c *bench.Comparison) rowKind {
	switch {
	case name == c.Reference:
		return rowReference
	case name == w.Control:
		return rowControl
	case !c.Shown:
		return rowSame
	case (c.Median > 1) == (f.Better == bench.MoreIsBetter):
		return rowBetter
	}
	return rowWorse
}

func newPlot(w bench.WorkResult, f bench.FigureResult, rows []row) *plot.Plot {
	p := plot.New()
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, ratioTicks{}
	p.X.Min, p.X.Max = span(rows)
	p.X.Label.Text = fmt.Sprintf("ratio to %s (%s is better)", w.References[0], f.Better) // f's name is the heading
	p.HideY()
	p.Y.Min, p.Y.Max = -0.5, float64(len(rows))-0.5
	p.X.Padding, p.Y.Padding, p.X.Label.Padding = 0, 0, textSize/2
	for _, style := range []*draw.TextStyle{&p.X.Label.TextStyle, &p.X.Tick.Label} {
		style.Font.Variant, style.Font.Size = "Sans", textSize
	}
	p.BackgroundColor = nil // the page's
	p.Add(&forest{rows: rows, text: p.X.Tick.Label})
	return p
}

// span is the range of the axis: every interval, and some room about 1 so that small differences look small.
func span(rows []row) (low, high float64) {
	low, high = 0.8, 1.25
	for _, r := range rows {
		low, high = min(low, r.Low), max(high, r.High)
	}
	return low / 1.03, high * 1.03
}

// fonts have the same widths, but for the last, which any machine has.
const fonts = "Liberation Sans,Arial,Helvetica,sans-serif"

// inline makes an element of an HTML page out of an SVG file.
func inline(file, description string) template.HTML {
	_, body, _ := strings.Cut(file, "<svg ")
	body = strings.ReplaceAll(body, "font-family:Liberation Sans;", "font-family:"+fonts+";")
	label := template.HTMLEscapeString(description)
	return template.HTML(fmt.Sprintf("<svg role=\"img\" aria-label=\"%s\" %s", label, body))
}

func description(w bench.WorkResult, f bench.FigureResult, rows []row) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s, ratio to %s:", w.Name, f.Name, w.References[0])
	for _, r := range rows {
		fmt.Fprintf(&b, " %s %s;", r.name, r.Ratio)
	}
	return strings.TrimSuffix(b.String(), ";")
}
