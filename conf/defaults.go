package conf

import (
	_ "embed"
	"sync"
)

//go:embed defaults.toml
var defaultsText []byte

// defaults returns the sections that fill in for what a file leaves out, by path.
var defaults = sync.OnceValue(func() map[string]*section {
	doc, faults := readDocument("defaults.toml", defaultsText)
	if len(faults) > 0 {
		panic(faults)
	}
	sections := map[string]*section{"": &doc.top}
	for _, s := range doc.sections {
		sections[s.path] = s
	}
	return sections
})
