package conf

import (
	"fmt"
	"slices"

	"github.com/pelletier/go-toml/v2/unstable"
)

// listPaths are the sections that a file has any number of.
var listPaths = []string{"route", "dns"}

// sections returns the [[route]] and [[dns]] of a document by path, and reports sections that are neither.
func (d *decoder) sections(doc *document) map[string][]*section {
	found := map[string][]*section{}
	for _, path := range listPaths {
		found[path] = d.inlineSections(&doc.top, path)
	}
	for _, s := range doc.sections {
		at := value{key: s.path, line: s.line}
		switch inline, twice := doc.top.values[s.path]; {
		case s.path == healthCheckPath:
			d.attach(s, found["route"])
		case !slices.Contains(listPaths, s.path):
			d.fault(at, guessSection(s.path), "there is no such section")
		case !s.isArray:
			d.fault(at, fmt.Sprintf("write [[%s]]", s.path), "is a list of sections")
		case twice:
			d.fault(at, "keep to one way", "is already given as a list on line %d", inline.line)
		default:
			found[s.path] = append(found[s.path], s)
		}
	}
	return found
}

// attach makes the table of a health check a key of the route that it follows.
func (d *decoder) attach(s *section, routes []*section) {
	at := value{key: s.path, line: s.line, kind: unstable.InlineTable, table: s}
	switch {
	case s.isArray:
		d.fault(at, "write [route.health_check]", "is one table for each [[route]], not a list")
		return
	case len(routes) == 0:
		d.fault(at, "write it below the [[route]] that it belongs to", "stands above the first [[route]]")
		return
	}
	route := routes[len(routes)-1]
	if first, twice := route.values["health_check"]; twice {
		d.fault(at, "", "is given twice, first on line %d", first.line)
		return
	}
	route.values["health_check"] = at
	route.order = append(route.order, "health_check")
}

// inlineSections takes sections that are written as route = [{...}] out of the keys of the top level.
func (d *decoder) inlineSections(top *section, path string) []*section {
	v, ok := top.values[path]
	if !ok {
		return nil
	}
	top.order = slices.DeleteFunc(top.order, func(key string) bool { return key == path })
	if v.kind != unstable.Array {
		d.fault(v, fmt.Sprintf("write [[%s]]", path), "is a list of sections, not %s", kindNames[v.kind])
		return nil
	}
	var found []*section
	for _, item := range v.items {
		if d.wants(item, unstable.InlineTable) {
			found = append(found, item.table)
		}
	}
	return found
}

func guessSection(path string) string {
	if near := nearest(path, listPaths); near != "" {
		return fmt.Sprintf("did you mean [[%s]]?", near)
	}
	return "write [[route]] or [[dns]]"
}

// sectionKeys returns the names of the keys that a section may have.
func sectionKeys(path string) []string {
	switch path {
	case "route":
		return keyNames(routeKeys)
	case "dns":
		return keyNames(dnsKeys)
	case healthCheckPath:
		return keyNames(healthCheckKeys)
	}
	return keyNames(topKeys)
}

func keyNames[T any](keys []key[T]) []string {
	names := make([]string, len(keys))
	for i, k := range keys {
		names[i] = k.name
	}
	return names
}
