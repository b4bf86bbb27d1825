package zone

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// Keeper reads zone files and reads them again when they change. One goroutine may use it at a time.
type Keeper struct {
	patterns []string
	files    map[string]*entry
	holders  map[string]string // by apex, as the wire has it: the file that the zone is from
	current  *Zones
}

// entry is one zone file.
type entry struct {
	read    fileSet // the file and those it includes, as they were when they were last read
	pending []stamp // what the last look found, if it differed
	missing bool    // the last look did not find it
	zone    *Zone   // the last good one; nil if there never was one
	err     error   // of the last reading
}

// NewKeeper returns a keeper of the files that match the patterns (see path/filepath.Match). It has read none yet.
func NewKeeper(patterns []string) *Keeper {
	return &Keeper{
		patterns: patterns, files: make(map[string]*entry), holders: make(map[string]string), current: NewZones(nil),
	}
}

// SetPatterns makes the next Refresh look for other files.
func (k *Keeper) SetPatterns(patterns []string) { k.patterns = patterns }

// Zones returns the zones as of the last Refresh.
func (k *Keeper) Zones() *Zones { return k.current }

// Change is what a Refresh did.
type Change struct {
	Loaded  []Loaded // zones that were read anew
	Removed []string // files that are gone, and their zones with them
	Err     error    // what is wrong with files that were read, joined; their zones stay as they were
}

// Loaded is a zone that was read.
type Loaded struct {
	File string
	Zone *Zone
}

// Any reports whether anything was read or removed.
func (c *Change) Any() bool { return len(c.Loaded) > 0 || len(c.Removed) > 0 }

// Refresh reads new and changed files and puts all their zones in force at once; a file with a fault leaves its zone
// as it was, and is not read again before it changes. A settled file is one that looks as it did at the last Refresh:
// with settled set, others wait, so that no half-written file is read by a caller that looks at intervals.
func (k *Keeper) Refresh(settled bool) Change {
	var c Change
	paths, err := k.paths()
	errs := []error{err}
	for _, path := range paths {
		e := k.files[path]
		if e == nil {
			e = &entry{read: fileSet{names: []string{path}, stamps: make([]stamp, 1)}}
			k.files[path] = e
		}
		e.missing = false
		if e.due(settled) {
			k.read(path, e)
			errs = append(errs, e.err)
			if e.err == nil {
				c.Loaded = append(c.Loaded, Loaded{File: path, Zone: e.zone})
			}
		}
	}
	c.Removed = k.remove(paths, settled)
	c.Err = errors.Join(errs...)
	if c.Any() {
		k.current = NewZones(k.list())
	}
	return c
}

// due reports whether the file is to be read now.
func (e *entry) due(settled bool) bool {
	now := e.read.now()
	if same(e.read.stamps, now) {
		e.pending = nil
		return false
	}
	if settled && !same(now, e.pending) {
		e.pending = now
		return false
	}
	return true
}

// read reads a file; with a fault, the entry keeps the zone that it had.
func (k *Keeper) read(path string, e *entry) {
	z, src, err := load(path)
	e.read = fileSet{names: src.names, stamps: src.stamps}
	e.pending, e.err = nil, err
	if err != nil {
		return
	}
	apex := string(z.apex.Wire())
	if holder, ok := k.holders[apex]; ok && holder != path {
		e.err = Fault{File: path, Text: fmt.Sprintf("the zone %s is already read from %s", &z.apex, holder)}
		return
	}
	k.release(e)
	k.holders[apex] = path
	e.zone = z
}

// release makes room for another file with the zone of an entry.
func (k *Keeper) release(e *entry) {
	if e.zone != nil {
		delete(k.holders, string(e.zone.apex.Wire()))
	}
}

// remove forgets the files that no pattern matches any more; paths is sorted.
func (k *Keeper) remove(paths []string, settled bool) (gone []string) {
	for _, path := range slices.Sorted(maps.Keys(k.files)) {
		e := k.files[path]
		if _, there := slices.BinarySearch(paths, path); there {
			continue
		}
		if settled && !e.missing {
			e.missing = true
			continue
		}
		k.release(e)
		delete(k.files, path)
		gone = append(gone, path)
	}
	return gone
}

func (k *Keeper) list() []*Zone {
	var list []*Zone
	for _, path := range slices.Sorted(maps.Keys(k.files)) {
		if z := k.files[path].zone; z != nil {
			list = append(list, z)
		}
	}
	return list
}

// paths returns the files that the patterns match now. A pattern without a special character names a file, which must
// be there.
func (k *Keeper) paths() ([]string, error) {
	var paths []string
	var errs []error
	for _, pattern := range k.patterns {
		found, err := filepath.Glob(pattern)
		if err == nil && len(found) == 0 && !strings.ContainsAny(pattern, `*?[\`) {
			err = errors.New("no such file")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("zone files %q: %w", pattern, err))
		}
		paths = append(paths, found...)
	}
	slices.Sort(paths)
	return slices.Compact(paths), errors.Join(errs...)
}
