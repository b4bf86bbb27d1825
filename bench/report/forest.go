package report

import (
	"image/color"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// The colours are those of Okabe and Ito (Color Universal Design, 2008), which people with any colour vision tell apart
// and a black-and-white printer turns into different greys. Shapes tell the same.
var (
	black     = color.RGBA{0, 0, 0, 255}
	grey      = color.RGBA{110, 110, 110, 255}
	blue      = color.RGBA{0, 114, 178, 255}
	vermilion = color.RGBA{213, 94, 0, 255}
	bandGrey  = color.RGBA{222, 222, 222, 255}
	gridGrey  = color.RGBA{236, 236, 236, 255}
)

// forest draws one row for each subject: its name, its median ratio with whiskers over the interval, and both as text
// behind the end of the axis. A band behind the rows is the interval of the A/A control: what overlaps it shows no
// difference.
type forest struct {
	rows []row // from top to bottom
	text draw.TextStyle
}

const (
	markRadius = vg.Length(3)
	capHeight  = vg.Length(2.5) // half of it
	labelGap   = vg.Length(6)
)

func (f *forest) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	for _, r := range f.rows {
		if r.kind == rowControl {
			f.fill(c, x(r.Low), x(r.High))
		}
	}
	for _, tick := range p.X.Tick.Marker.Ticks(p.X.Min, p.X.Max) {
		c.StrokeLine2(line(gridGrey, 0.5), x(tick.Value), c.Min.Y, x(tick.Value), c.Max.Y)
	}
	c.StrokeLine2(line(grey, 0.75), x(1), c.Min.Y, x(1), c.Max.Y)
	for i, r := range f.rows {
		at := y(float64(len(f.rows) - 1 - i))
		r.draw(c, x, at)
		c.FillText(f.style(black), vg.Point{X: c.Min.X - f.width((*row).title), Y: at}, r.name)
		c.FillText(f.style(r.color()), vg.Point{X: c.Max.X + labelGap, Y: at}, r.label())
	}
}

func (f *forest) fill(c draw.Canvas, left, right vg.Length) {
	c.FillPolygon(bandGrey, []vg.Point{
		{X: left, Y: c.Min.Y}, {X: right, Y: c.Min.Y}, {X: right, Y: c.Max.Y}, {X: left, Y: c.Max.Y},
	})
}

// draw draws the row at a height.
func (r *row) draw(c draw.Canvas, x func(float64) vg.Length, at vg.Length) {
	if r.kind != rowReference {
		style := line(r.color(), 1.25)
		c.StrokeLine2(style, x(r.Low), at, x(r.High), at)
		for _, end := range []float64{r.Low, r.High} {
			c.StrokeLine2(style, x(end), at-capHeight, x(end), at+capHeight)
		}
	}
	shape := draw.GlyphStyle{Color: r.color(), Radius: markRadius, Shape: r.shape()}
	if r.kind == rowSame { // hollow
		c.DrawGlyphNoClip(draw.GlyphStyle{Color: color.White, Radius: markRadius, Shape: draw.CircleGlyph{}},
			vg.Point{X: x(r.Median), Y: at})
	}
	c.DrawGlyphNoClip(shape, vg.Point{X: x(r.Median), Y: at})
}

func (r *row) color() color.Color {
	switch r.kind {
	case rowBetter:
		return blue
	case rowWorse:
		return vermilion
	case rowReference:
		return black
	}
	return grey
}

func (r *row) shape() draw.GlyphDrawer {
	switch r.kind {
	case rowSame:
		return draw.RingGlyph{}
	case rowControl:
		return draw.SquareGlyph{}
	case rowReference:
		return draw.CrossGlyph{}
	}
	return draw.CircleGlyph{}
}

func (r *row) title() string { return r.name }

func (r *row) label() string {
	if r.kind == rowReference {
		return "1"
	}
	return r.Ratio.String()
}

// style is that of text beside a row.
func (f *forest) style(c color.Color) draw.TextStyle {
	style := f.text
	style.Color, style.XAlign, style.YAlign = c, draw.XLeft, draw.YCenter
	return style
}

// GlyphBoxes make room for the text on both sides (plot.GlyphBoxer).
func (f *forest) GlyphBoxes(*plot.Plot) []plot.GlyphBox {
	return []plot.GlyphBox{
		{X: 0, Rectangle: vg.Rectangle{Min: vg.Point{X: -f.width((*row).title)}}},
		{X: 1, Rectangle: vg.Rectangle{Max: vg.Point{X: f.width((*row).label)}}},
	}
}

// slack is how much wider text may be in a browser, which may have another font, than here. Text is therefore aligned
// to the left.
const slack = 1.18

// width is the most room that a text of the rows needs.
func (f *forest) width(text func(*row) string) vg.Length {
	var most vg.Length
	for i := range f.rows {
		most = max(most, f.text.Width(text(&f.rows[i])))
	}
	return most*slack + labelGap
}

func line(c color.Color, width vg.Length) draw.LineStyle {
	return draw.LineStyle{Color: c, Width: width}
}
