package rule

// CompileWithin compiles with the bound that a TooLargeError calls what lowered to n.
func CompileWithin(set Set, what string, n int) (*Table, error) {
	lim := defaultLimits
	*map[string]*int{
		"prefixes":        &lim.nodes,
		"port intervals":  &lim.intervals,
		"rows":            &lim.rows,
		"actions":         &lim.actions,
		"source prefixes": &lim.sources,
		"steps of work":   &lim.steps,
	}[what] = n
	return compile(set, lim)
}
