package conf

import "fmt"

// unknownKey reports a key that its section does not have, with the best guess at what was meant.
func (d *decoder) unknownKey(s *section, name string) {
	at := s.values[name]
	d.fault(at, guessKey(s.path, name), "is not a key of %s", describeSection(s.path))
}

func describeSection(path string) string {
	if path == "" {
		return "the top level"
	}
	if path == healthCheckPath {
		return "[" + path + "]"
	}
	return "[[" + path + "]]"
}

// guessKey returns a hint at what an unknown key may be: a slip of the pen, or a key of another section. The latter
// happens easily, since a top-level key that is written below a [[route]] belongs to that route.
func guessKey(path, name string) string {
	if near := nearest(name, sectionKeys(path)); near != "" {
		return fmt.Sprintf("did you mean %s?", near)
	}
	for _, other := range []string{"", "route", "dns"} {
		if other == path || nearest(name, sectionKeys(other)) != name {
			continue
		}
		if other == "" {
			return name + " is a top-level key: write it above the first [[...]]"
		}
		return fmt.Sprintf("%s is a key of [[%s]]", name, other)
	}
	return ""
}

// nearest returns the known word that is closest to a mistyped one, or "" if none is close.
func nearest(name string, known []string) string {
	best, least := "", 1+min(2, len(name)/3)
	for _, k := range known {
		if max(len(k)-len(name), len(name)-len(k)) >= least {
			continue // every surplus byte is an edit; and names can be huge
		}
		if n := editDistance(name, k); n < least {
			best, least = k, n
		}
	}
	return best
}

// editDistance counts the insertions, deletions and substitutions of bytes that turn a into b (Levenshtein), row by
// row of the usual matrix.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
