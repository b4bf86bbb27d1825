package conf

import (
	"fmt"
	"slices"

	"github.com/pelletier/go-toml/v2/unstable"
)

// decoder collects what is wrong with a file while its values are read.
type decoder struct {
	file     string
	faults   Faults
	broken   int // faults so far that left no value to go on with
	warnings []Fault
}

// key is one key of the sections that are decoded into a T.
type key[T any] struct {
	name string
	set  setter[T]
}

// setter decodes a value into its place in a T, and reports what is wrong with it.
type setter[T any] func(d *decoder, v value, into *T)

// reading is what decode found in a section.
type reading struct {
	*section
	bad map[string]bool // keys without a value to go on with
}

// given reports whether the section has the key, rather than taking its default.
func (r reading) given(key string) bool {
	_, ok := r.values[key]
	return ok
}

// good reports whether all these keys have a value, be it their default.
func (r reading) good(keys ...string) bool {
	return !slices.ContainsFunc(keys, func(key string) bool { return r.bad[key] })
}

// at returns the place to report something about a key at: its own, or the section's header.
func (r reading) at(key string) value {
	if v, ok := r.values[key]; ok {
		return v
	}
	return value{key: joinPath(r.path, key), line: r.line}
}

// decode reads a section into a T, key by key in the order of the table; keys that are left out come from defaults.
func decode[T any](d *decoder, s, defaults *section, keys []key[T], into *T) reading {
	r := reading{section: s, bad: map[string]bool{}}
	for _, k := range keys {
		v, ok := s.values[k.name]
		if !ok {
			v, ok = defaults.values[k.name]
		}
		if !ok {
			continue
		}
		before := d.broken
		k.set(d, v, into)
		r.bad[k.name] = d.broken > before
	}
	for _, name := range s.order {
		if !slices.ContainsFunc(keys, func(k key[T]) bool { return k.name == name }) {
			d.unknownKey(s, name)
		}
	}
	return r
}

// fault notes something wrong at a place; hint may be empty.
func (d *decoder) fault(at value, hint, format string, args ...any) {
	d.faults = append(d.faults, d.newFault(at, hint, format, args...))
}

// warn notes what is legal but surely not meant.
func (d *decoder) warn(at value, hint, format string, args ...any) {
	d.warnings = append(d.warnings, d.newFault(at, hint, format, args...))
}

func (d *decoder) newFault(at value, hint, format string, args ...any) Fault {
	return Fault{File: d.file, Line: at.line, Key: at.key, Message: fmt.Sprintf(format, args...), Hint: hint}
}

// report turns what a value's parser found into a fault; nil is nothing.
func (d *decoder) report(at value, f *finding) {
	if f == nil {
		return
	}
	if !f.meant {
		d.broken++
	}
	d.fault(at, f.hint, "%s", f.message)
}

// wants reports whether v is of the kind, and otherwise says so.
func (d *decoder) wants(v value, kind unstable.Kind) bool {
	if v.kind == kind {
		return true
	}
	hint := "write " + kindExamples[kind]
	if kind == unstable.Array && v.kind == unstable.String {
		hint = fmt.Sprintf("write [%q]", v.text)
	}
	d.report(v, refuse(hint, "is %s, not %s", kindNames[v.kind], kindNames[kind]))
	return false
}
