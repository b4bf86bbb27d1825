package conf

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// kindNames is what a user calls the kinds of values.
var kindNames = map[unstable.Kind]string{
	unstable.String:        "a string",
	unstable.Integer:       "an integer",
	unstable.Float:         "a float",
	unstable.Bool:          "a boolean",
	unstable.Array:         "a list",
	unstable.InlineTable:   "a table",
	unstable.DateTime:      "a date",
	unstable.LocalDate:     "a date",
	unstable.LocalDateTime: "a date",
	unstable.LocalTime:     "a time",
}

// kindExamples is how the kinds that keys take are written.
var kindExamples = map[unstable.Kind]string{
	unstable.String:      `it in quotes`,
	unstable.Integer:     `a whole number without quotes`,
	unstable.Bool:        `true or false without quotes`,
	unstable.Array:       `["..."]`,
	unstable.InlineTable: `{...}`,
}

// single sets a field from a string.
func single[T, V any](field func(*T) *V, parse func(string) (V, *finding)) setter[T] {
	return func(d *decoder, v value, into *T) {
		if !d.wants(v, unstable.String) {
			return
		}
		got, f := parse(v.text)
		d.report(v, f)
		*field(into) = got
	}
}

// list sets a field from a list of different strings.
func list[T any, V comparable](field func(*T) *[]V, parse func(string) (V, *finding)) setter[T] {
	return func(d *decoder, v value, into *T) {
		if !d.wants(v, unstable.Array) {
			return
		}
		seen := map[V]bool{}
		for _, item := range v.items {
			if got, ok := element(d, item, parse); ok && seen[got] {
				d.fault(item, "", "%q is listed twice", item.text)
			} else if ok {
				seen[got] = true
				*field(into) = append(*field(into), got)
			}
		}
	}
}

// element reads one string of a list; false means that there is no value to go on with.
func element[V any](d *decoder, item value, parse func(string) (V, *finding)) (V, bool) {
	if !d.wants(item, unstable.String) {
		return *new(V), false
	}
	before := d.broken
	got, f := parse(item.text)
	d.report(item, f)
	return got, d.broken == before
}

// filled is a list that may not be empty, because nobody can tell none from all by looking at it.
func filled[T any, V comparable](field func(*T) *[]V, parse func(string) (V, *finding), hint string) setter[T] {
	set := list(field, parse)
	return func(d *decoder, v value, into *T) {
		if v.kind == unstable.Array && len(v.items) == 0 {
			d.report(v, refuse(hint, "the list is empty"))
			return
		}
		set(d, v, into)
	}
}

// integer sets a field from a whole number between two bounds, both included.
func integer[T any](field func(*T) *int, least, most int) setter[T] {
	return number(field, fmt.Sprintf("%d to %d are allowed", least, most),
		func(n int64) bool { return n >= int64(least) && n <= int64(most) })
}

// zeroOr is integer with 0 allowed as well.
func zeroOr[T any](field func(*T) *int, least, most int) setter[T] {
	return number(field, fmt.Sprintf("%d to %d are allowed, and 0 for none", least, most),
		func(n int64) bool { return n == 0 || n >= int64(least) && n <= int64(most) })
}

// number sets a field from a whole number that is in range.
func number[T any](field func(*T) *int, allowed string, inRange func(int64) bool) setter[T] {
	return func(d *decoder, v value, into *T) {
		if !d.wants(v, unstable.Integer) {
			return
		}
		n, err := strconv.ParseInt(v.text, 0, 64)
		if err != nil || !inRange(n) {
			d.report(v, refuse("", "%s is out of range; %s", v.text, allowed))
			return
		}
		*field(into) = int(n)
	}
}

// boolean sets a field from true or false.
func boolean[T any](field func(*T) *bool) setter[T] {
	return func(d *decoder, v value, into *T) {
		if d.wants(v, unstable.Bool) {
			*field(into) = v.text == "true"
		}
	}
}

// word is one word that a key takes, and what it stands for.
type word[V any] struct {
	text  string
	means V
}

// oneOf returns a parser that knows a few words.
func oneOf[V any](words ...word[V]) func(string) (V, *finding) {
	return func(text string) (V, *finding) {
		i := slices.IndexFunc(words, func(w word[V]) bool { return w.text == text })
		if i >= 0 {
			return words[i].means, nil
		}
		known := make([]string, len(words))
		for i, w := range words {
			known[i] = strconv.Quote(w.text)
		}
		return *new(V), refuse("write one of "+strings.Join(known, ", "), "%q is not known here", text)
	}
}
