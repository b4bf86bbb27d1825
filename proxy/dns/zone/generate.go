package zone

import (
	"fmt"
	"strconv"
	"strings"
)

// generator expands a $GENERATE directive, BIND's way to write a series of records:
//
//	$GENERATE START-STOP[/STEP] OWNER [TTL] [CLASS] TYPE DATA
//
// In all that follows the range, "$" is the number at hand, "${OFFSET[,WIDTH[,BASE]]}" that number plus an offset,
// filled with zeros to a width, in base d, o, x or X, or as nibbles in reverse order (n, N, as ip6.arpa has them), and
// "\$" or "$$" a "$".
type generator struct {
	parts    []part
	at, stop int64
	step     int64
}

// part is some text and, unless it is the last one, a number behind it.
type part struct {
	text   string
	number bool
	offset int64
	width  int
	base   byte
}

// Bounds that no sensible directive meets.
const (
	maxGenerated = 1 << 24 // records
	maxWidth     = 255     // digits: a label has 63
)

func newGenerator(args string) (*generator, error) {
	span, template, _ := strings.Cut(strings.TrimLeft(args, " "), " ")
	g := &generator{step: 1}
	if err := g.parseRange(span); err != nil {
		return nil, fmt.Errorf("$GENERATE: %w", err)
	}
	if err := g.parseTemplate(strings.TrimLeft(template, " ")); err != nil {
		return nil, fmt.Errorf("$GENERATE: %w", err)
	}
	return g, nil
}

func (g *generator) parseRange(span string) error {
	bad := fmt.Errorf("%q is no range: START-STOP or START-STOP/STEP", span)
	bounds, step, stepped := strings.Cut(span, "/")
	start, stop, ok := strings.Cut(bounds, "-")
	if !ok || !parseCount(start, &g.at) || !parseCount(stop, &g.stop) || stepped && !parseCount(step, &g.step) {
		return bad
	}
	if g.stop < g.at || g.step == 0 {
		return bad
	}
	if (g.stop-g.at)/g.step >= maxGenerated {
		return fmt.Errorf("%q is more than %d records", span, maxGenerated)
	}
	return nil
}

func parseCount(text string, n *int64) bool {
	v, err := strconv.ParseUint(text, 10, 31)
	*n = int64(v)
	return err == nil
}

// parseTemplate cuts what follows the range into parts.
func (g *generator) parseTemplate(t string) error {
	if t == "" {
		return fmt.Errorf("no record follows the range")
	}
	var text strings.Builder
	for len(t) > 0 {
		switch {
		case strings.HasPrefix(t, `\`) && len(t) > 1:
			text.WriteString(t[:2])
			t = t[2:]
		case strings.HasPrefix(t, "$$"):
			text.WriteString(`\$`)
			t = t[2:]
		case t[0] == '$':
			p := part{number: true, base: 'd', text: text.String()}
			var err error
			if t, err = p.parseModifier(t[1:]); err != nil {
				return err
			}
			g.parts = append(g.parts, p)
			text.Reset()
		default:
			text.WriteByte(t[0])
			t = t[1:]
		}
	}
	g.parts = append(g.parts, part{text: text.String()})
	return nil
}

// parseModifier reads "{OFFSET[,WIDTH[,BASE]]}" if it is there, and returns what follows it.
func (p *part) parseModifier(t string) (rest string, err error) {
	if !strings.HasPrefix(t, "{") {
		return t, nil
	}
	inside, rest, closed := strings.Cut(t[1:], "}")
	fields := strings.Split(inside, ",")
	bad := fmt.Errorf("%q is no modifier: ${OFFSET}, ${OFFSET,WIDTH} or ${OFFSET,WIDTH,BASE}", "${"+inside+"}")
	if !closed || len(fields) > 3 {
		return "", bad
	}
	if p.offset, err = strconv.ParseInt(fields[0], 10, 32); err != nil {
		return "", bad
	}
	if len(fields) > 1 {
		if p.width, err = strconv.Atoi(fields[1]); err != nil || p.width < 0 || p.width > maxWidth {
			return "", bad
		}
	}
	if len(fields) > 2 {
		if len(fields[2]) != 1 || !strings.Contains("doxXnN", fields[2]) {
			return "", bad
		}
		p.base = fields[2][0]
	}
	return rest, nil
}

// next returns the next line, in b if it fits, or an empty slice behind the last one.
func (g *generator) next(b []byte) []byte {
	b = b[:0]
	if g.at > g.stop {
		return b
	}
	for _, p := range g.parts {
		b = append(b, p.text...)
		if p.number {
			b = p.append(b, g.at+p.offset)
		}
	}
	g.at += g.step
	return append(b, '\n')
}

func (p *part) append(b []byte, n int64) []byte {
	switch p.base {
	case 'o':
		return fmt.Appendf(b, "%0*o", p.width, n)
	case 'x':
		return fmt.Appendf(b, "%0*x", p.width, n)
	case 'X':
		return fmt.Appendf(b, "%0*X", p.width, n)
	case 'n':
		return appendNibbles(b, strconv.FormatInt(n, 16), p.width)
	case 'N':
		return appendNibbles(b, strings.ToUpper(strconv.FormatInt(n, 16)), p.width)
	}
	return fmt.Appendf(b, "%0*d", p.width, n)
}

// appendNibbles writes hexadecimal digits as labels, the last digit first. The width counts the dots.
func appendNibbles(b []byte, digits string, width int) []byte {
	start := len(b)
	for i := len(digits) - 1; i >= 0 || len(b)-start < width; i-- {
		digit := byte('0')
		if i >= 0 {
			digit = digits[i]
		}
		if len(b) > start {
			b = append(b, '.')
		}
		b = append(b, digit)
	}
	return b
}
