package conf

import (
	"errors"
	"testing"

	"anyport/conf/rule"
)

// TestJudgeOtherErrors wants an error of the compiler that names no rule to come out all the same.
func TestJudgeOtherErrors(t *testing.T) {
	d := &decoder{file: "x.toml"}
	j := &judge{decoder: d, draft: &draft{}}
	j.blame(errors.Join(&rule.TooLargeError{What: "port intervals", Limit: 7}, errors.New("the moon is full")))
	want := "x.toml:1: rule set too large: it flattens to more than 7 port intervals\nx.toml:1: the moon is full"
	if got := d.faults.Error(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
