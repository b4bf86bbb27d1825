package rule_test

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"testing"

	"anyport/conf/rule"
)

// TestBounds compiles sets at exactly what they need of each bound, and with one less.
func TestBounds(t *testing.T) {
	table, err := rule.Compile(withFrom(500))
	if err != nil {
		t.Fatal(err)
	}
	for _, bound := range []struct {
		what string
		need int
	}{
		{"prefixes", len(served) + 500}, // each rule names its prefix
		{"port intervals", len(table.Intervals)},
		{"rows", len(table.Rows)},
		{"actions", len(table.Actions)},
		{"source prefixes", len(table.Sources)},
	} {
		if _, err := rule.CompileWithin(withFrom(500), bound.what, bound.need); err != nil {
			t.Errorf("%d %s: %v", bound.need, bound.what, err)
		}
		_, err := rule.CompileWithin(withFrom(500), bound.what, bound.need-1)
		var large *rule.TooLargeError
		if !errors.As(err, &large) || large.What != bound.what || large.Limit != bound.need-1 {
			t.Errorf("%d %s: %v", bound.need-1, bound.what, err)
		}
	}
}

// TestBoundsHoldBeforeMemory compiles sets that multiply out to far more than a lowered bound, and looks at what was
// allocated by the time the bound was found.
func TestBoundsHoldBeforeMemory(t *testing.T) {
	grid := perPrefix(2000) // with a port of its own on each of 2,000 prefixes: 8 million intervals
	for i, r := range perPort(2000).Rules {
		r.Name = fmt.Sprintf("port %d", i)
		grid.Rules = append(grid.Rules, r)
	}
	nested := rule.Set{Prefixes: served} // 2,000 ranges inside one another, each with a source: 4 million of them
	for i := range 2000 {
		nested.Rules = append(nested.Rules, rule.Rule{
			Name: fmt.Sprint(i), From: []netip.Prefix{netip.PrefixFrom(v4(i), 32)},
			Ports: []rule.PortRange{{First: uint16(1 + i), Last: uint16(65535 - i)}},
		})
	}
	for _, test := range []struct {
		set  rule.Set
		what string
	}{{grid, "port intervals"}, {grid, "steps of work"}, {nested, "source prefixes"}, {nested, "steps of work"}} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := rule.CompileWithin(test.set, test.what, 1<<16)
		runtime.ReadMemStats(&after)
		var large *rule.TooLargeError
		if !errors.As(err, &large) || large.What != test.what {
			t.Errorf("%s: %v", test.what, err)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 32<<20 {
			t.Errorf("%s: %d MB allocated", test.what, n>>20)
		}
	}
}
