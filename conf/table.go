package conf

import (
	"fmt"
	"io"
	"net/netip"
	"strings"
	"text/tabwriter"

	"anyport/conf/rule"
)

// WriteTable writes the configuration as packets meet it: for each prefix, longest first, the entries that win there in
// order of precedence, the default last. Each line tells the prefix, protocol, ports and source of the entry, what
// happens, by which rule, which prefix that rule is written for, and where it stands in the file.
func (c *Config) WriteTable(w io.Writer) error {
	table, err := rule.Compile(c.RuleSet())
	if err != nil {
		return fmt.Errorf("compile rules: %w", err)
	}
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, "PREFIX\tPROTOCOL\tPORTS\tFROM\tACTION\tRULE\tWRITTEN FOR\tPLACE")
	for e := range table.Effective() {
		fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", e.At, e.Protocol, e.Ports, orAny(e.Source), c.action(e),
			table.Set().RuleName(e.Rule), orEvery(e.Prefix), c.place(e.Rule))
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("write table: %w", err)
	}
	return nil
}

// place returns where a rule stands; the defaults stand nowhere.
func (c *Config) place(i int) string {
	if i < 0 {
		return "-"
	}
	return fmt.Sprintf("%s:%d", c.File, c.RuleLine(i))
}

func orAny(source netip.Prefix) string {
	if source.Bits() <= 0 {
		return "any"
	}
	return source.String()
}

func orEvery(prefix netip.Prefix) string {
	if !prefix.IsValid() {
		return "every prefix"
	}
	return prefix.String()
}

// action says what happens to the packets of an entry.
func (c *Config) action(e rule.Entry) string {
	switch {
	case e.Verdict != rule.Steer:
		return e.Verdict.String()
	case e.Rule >= len(c.Routes):
		return "dns"
	}
	upstreams := c.Routes[e.Rule].Upstreams
	names := make([]string, len(upstreams))
	for i, u := range upstreams {
		names[i] = u.String()
	}
	return "proxy " + strings.Join(names, ", ")
}
