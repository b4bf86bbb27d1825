package zone

import (
	"bufio"
	"os"
	"strings"
)

// lineReader reads a file, counts its lines, and expands $GENERATE. The parser takes single bytes from it, so that it
// never reads ahead.
//
// The parser has a $GENERATE of its own, but that gives the records a TTL of 3600 whatever $TTL says.
type lineReader struct {
	*os.File
	owner    *sources
	number   uint16 // of the file, in owner.names
	in       *bufio.Reader
	line     uint32 // that the newest byte is on, from 1
	fresh    bool   // the next byte is the first of a line
	pending  []byte // comes before what is in the file: the rest of a directive, or a generated line
	generate *generator
}

func newLineReader(f *os.File, owner *sources, number uint16) *lineReader {
	return &lineReader{File: f, owner: owner, number: number, in: bufio.NewReaderSize(f, 64<<10), fresh: true}
}

// ReadByte implements io.ByteReader.
func (l *lineReader) ReadByte() (byte, error) {
	if len(l.pending) == 0 && l.generate != nil {
		if l.pending = l.generate.next(l.pending); len(l.pending) == 0 {
			l.generate = nil
		}
	}
	if len(l.pending) > 0 {
		c := l.pending[0]
		l.pending = l.pending[1:]
		return c, nil
	}
	c, err := l.in.ReadByte()
	if err != nil {
		return 0, err
	}
	if l.fresh {
		l.line++
		l.fresh = false
		if c == '$' {
			return l.directive()
		}
	}
	l.fresh = c == '\n'
	return c, nil
}

// directive reads the rest of a line that starts with "$", and returns its first byte. Of $GENERATE the parser gets to
// see an empty line, and then what it generates.
func (l *lineReader) directive() (byte, error) {
	rest, _ := l.in.ReadString('\n') // an error comes back at the next byte
	l.fresh = true
	name, args, _ := strings.Cut(strings.ReplaceAll(strings.TrimRight(rest, "\r\n"), "\t", " "), " ")
	if !strings.EqualFold(name, "GENERATE") {
		l.pending = []byte(rest)
		return '$', nil
	}
	g, err := newGenerator(args)
	if err != nil {
		return 0, err
	}
	l.generate = g
	return '\n', nil
}

// Close implements io.Closer; the file that includes this one is read again.
func (l *lineReader) Close() error {
	for i, o := range l.owner.open {
		if o == l {
			l.owner.open = l.owner.open[:i]
			return l.File.Close()
		}
	}
	return nil
}
