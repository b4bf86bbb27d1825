package rule

// Bounds of a compiled table. They keep a rule set that multiplies out (every port of its own on every prefix of its
// own) from eating the memory of the host: user space and the kernel each hold every element once, at 8 to 100 bytes.
const (
	MaxNodes     = 1 << 22 // prefixes, served ones and those of the rules, as often as they are named
	MaxIntervals = 1 << 24 // port intervals; equal lists count once
	MaxRows      = 1 << 22 // distinct outcomes of the port stage, and the rule stacks behind them
	MaxActions   = 1 << 23 // distinct outcomes of the source stage
	MaxSources   = 1 << 21 // source prefixes; equal sets count once
)

// maxSteps bounds the work of Compile where the table it leads to is small: wide rules of many sources that narrower
// ones hide are visited for each port that they do not get. A step is a look at one rule for one segment of ports, some
// 10 ns; what takes longer costs more steps. All of them are worth about two seconds.
const (
	maxSteps = 1 << 27
	costMap  = 8  // a search in a map
	costRow  = 32 // a row, with its actions and sources
)

// maxScratch bounds what a compilation remembers besides the table, in numbers of 4 bytes: the rules of all distinct
// groups that only the source tells apart, and the From lists of all distinct stacks of groups.
const maxScratch = 1 << 24

// limits are the bounds of one compilation; tests lower them.
type limits struct {
	nodes, intervals, rows, actions, sources, steps int
}

var defaultLimits = limits{
	nodes: MaxNodes, intervals: MaxIntervals, rows: MaxRows, actions: MaxActions, sources: MaxSources, steps: maxSteps,
}

// budget is what is left of the limits. It remembers the first one that was passed: whoever appends asks it, and every
// loop whose length a rule set can multiply ends once it is over, so that no element needs an error of its own.
type budget struct {
	limits
	spent int // steps
	over  *TooLargeError
}

// spend counts n steps of work.
func (b *budget) spend(n int) {
	if b.spent += n; b.spent > b.steps {
		b.exceed("steps of work", b.steps)
	}
}

// exceed notes that the table needs more than limit of what.
func (b *budget) exceed(what string, limit int) {
	if b.over == nil {
		b.over = &TooLargeError{What: what, Limit: limit}
	}
}
