package conf

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// value is one TOML value and the place it stands at.
type value struct {
	key   string // the dotted path of its key, for messages: "route.ports"
	line  int
	kind  unstable.Kind
	text  string   // of a scalar: a string's content, anything else as written
	items []value  // of an array
	table *section // of an inline table
}

// section is one table of the file: its top level, or one [[route]] or [[dns]].
type section struct {
	path    string // "", "route", "dns"
	line    int
	isArray bool // its header is [[path]]
	values  map[string]value
	order   []string // the keys of values as written
}

// document is a file without any meaning yet.
type document struct {
	top      section
	sections []*section // every [table] and [[table]], in the order written
}

// reader turns a text into a document.
type reader struct {
	file   string
	parser unstable.Parser
	breaks []int // offsets of the line breaks
	doc    document
	faults Faults
}

// readDocument returns the sections of a TOML text. Faults are a single one of syntax, which ends the reading, or keys
// that are given twice.
func readDocument(file string, text []byte) (*document, Faults) {
	r := &reader{file: file, doc: document{top: newSection("", 1)}}
	for i, c := range text {
		if c == '\n' {
			r.breaks = append(r.breaks, i)
		}
	}
	r.parser.Reset(slices.Clip(text))
	current := &r.doc.top
	for r.parser.NextExpression() {
		switch node := r.parser.Expression(); node.Kind {
		case unstable.KeyValue:
			r.add(current, node)
		case unstable.Table, unstable.ArrayTable:
			current = r.open(node)
		}
	}
	if err := r.parser.Error(); err != nil {
		return nil, Faults{r.syntaxFault(err)}
	}
	return &r.doc, r.faults
}

func newSection(path string, line int) section {
	return section{path: path, line: line, values: map[string]value{}}
}

// open starts the section of a header, [table] or [[table]].
func (r *reader) open(header *unstable.Node) *section {
	s := newSection(keyPath(header.Key()), r.line(header.Child().Raw))
	s.isArray = header.Kind == unstable.ArrayTable
	r.doc.sections = append(r.doc.sections, &s)
	return &s
}

// add puts a key and its value into a section. A key that is there already keeps its first value.
func (r *reader) add(s *section, node *unstable.Node) {
	name := keyPath(node.Key())
	v := value{key: joinPath(s.path, name), line: r.line(node.Raw)}
	if first, twice := s.values[name]; twice {
		r.faults = append(r.faults, Fault{File: r.file, Line: v.line, Key: v.key,
			Message: fmt.Sprintf("is given twice, first on line %d", first.line)})
		return
	}
	s.values[name] = r.value(v, node.Value())
	s.order = append(s.order, name)
}

// value reads the value of node; v comes with the key and its line, which is the best there is for arrays.
func (r *reader) value(v value, node *unstable.Node) value {
	v.kind = node.Kind
	switch node.Kind {
	case unstable.Array:
		for it := node.Children(); it.Next(); {
			v.items = append(v.items, r.value(value{key: v.key, line: v.line}, it.Node()))
		}
	case unstable.InlineTable:
		v.line = r.line(node.Raw)
		s := newSection(v.key, v.line)
		for it := node.Children(); it.Next(); {
			r.add(&s, it.Node())
		}
		v.table = &s
	default:
		v.line = r.line(node.Raw)
		v.text = string(node.Data)
	}
	return v
}

func (r *reader) line(at unstable.Range) int {
	return sort.SearchInts(r.breaks, int(at.Offset)) + 1
}

func (r *reader) syntaxFault(err error) Fault {
	f := Fault{File: r.file, Line: len(r.breaks) + 1, Message: "invalid TOML: " + err.Error()}
	if at := (*unstable.ParserError)(nil); errors.As(err, &at) {
		f.Line = r.line(r.parser.Range(at.Highlight))
	}
	return f
}

// keyPath writes a key, dotted or not, as one text. Parts that TOML would not let stand bare are quoted.
func keyPath(parts unstable.Iterator) string {
	var path string
	for parts.Next() {
		part := string(parts.Node().Data)
		if part == "" || strings.ContainsFunc(part, isNotBare) {
			part = strconv.Quote(part)
		}
		path = joinPath(path, part)
	}
	return path
}

func isNotBare(c rune) bool {
	return c >= 0x80 || !isAlphanumeric(byte(c)) && c != '-' && c != '_'
}

func joinPath(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
