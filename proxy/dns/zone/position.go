package zone

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// position is a line of one of a zone's files.
type position struct {
	file uint16 // into sources.names
	line uint32
}

// sources is the files that a zone is read from: the one that was named and those that it includes. It is the file
// system that the parser opens $INCLUDE files in, so that it knows at any time which file is being read and where.
type sources struct {
	names   []string // paths as opened
	stamps  []stamp  // taken before reading
	readers []*lineReader
	open    []*lineReader // of the readers
}

// maxFiles bounds the files of one zone, so that a position is small.
const maxFiles = 1 << 16

// Open opens a file whose path the parser has made absolute and then stripped of its first slash.
func (s *sources) Open(name string) (fs.File, error) {
	return s.push(string(filepath.Separator) + name)
}

func (s *sources) push(path string) (*lineReader, error) {
	if len(s.names) == maxFiles {
		return nil, errors.New("too many files")
	}
	st := stampOf(path)
	f, err := os.Open(path)
	if err != nil {
		// Noted all the same: when the file appears, the zone has changed.
		s.names, s.stamps = append(s.names, path), append(s.stamps, st)
		return nil, err
	}
	r := newLineReader(f, s, uint16(len(s.names)))
	s.names, s.stamps = append(s.names, path), append(s.stamps, st)
	s.readers, s.open = append(s.readers, r), append(s.open, r)
	return r, nil
}

// here returns the line of the newest byte that was read from the file that is being read.
func (s *sources) here() position {
	if len(s.open) == 0 {
		return position{}
	}
	r := s.open[len(s.open)-1]
	return position{file: r.number, line: r.line}
}

// fault returns a fault at a position.
func (s *sources) fault(p position, format string, args ...any) Fault {
	return Fault{File: s.names[p.file], Line: int(p.line), Text: fmt.Sprintf(format, args...)}
}

// syntax turns a parser's error, `FILE: dns: TEXT at line: LINE:COLUMN`, into a fault. The position is the one that
// was read last, not the parser's, which counts generated lines; the file may be closed already.
func (s *sources) syntax(err error) Fault {
	p := s.here()
	file, text, ok := strings.Cut(err.Error(), ": dns: ")
	if !ok {
		return s.fault(p, "%v", err)
	}
	for _, r := range s.readers {
		if path := s.names[r.number]; path == file || path[1:] == file { // see Open
			p = position{file: r.number, line: r.line}
		}
	}
	if i := strings.LastIndex(text, " at line: "); i >= 0 {
		text = text[:i]
	}
	return s.fault(p, "%s", text)
}

// close closes what the parser left open.
func (s *sources) close() {
	for len(s.open) > 0 {
		_ = s.open[len(s.open)-1].Close()
	}
}
