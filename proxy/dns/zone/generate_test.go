package zone

import (
	"strings"
	"testing"
)

func TestGenerate(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"1-3 a$ A 10.0.0.$", "a1 A 10.0.0.1|a2 A 10.0.0.2|a3 A 10.0.0.3"},
		{"0-10/5 a A 10.0.0.$", "a A 10.0.0.0|a A 10.0.0.5|a A 10.0.0.10"},
		{"7-7  $.x  CNAME  $.y", "7.x  CNAME  7.y"},
		{"7-7 a${3} A 10.0.0.${-7}", "a10 A 10.0.0.0"},
		{"9-10 a${0,3}", "a009|a010"},
		{"255-255 ${0,0,x} ${0,4,X} ${0,0,o}", "ff 00FF 377"},
		{"10-10 ${0,5,n}.x ${0,0,N}", "a.0.0.x A"},
		{"291-291 ${0,0,n}", "3.2.1"},
		{`1-1 \$ $$ a\\$`, `\$ \$ a\\1`},
	} {
		g, err := newGenerator(c.args)
		if err != nil {
			t.Errorf("%s: %v", c.args, err)
			continue
		}
		var lines []string
		for b := g.next(nil); len(b) > 0; b = g.next(nil) {
			lines = append(lines, strings.TrimSuffix(string(b), "\n"))
		}
		if got := strings.Join(lines, "|"); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.args, got, c.want)
		}
	}
}

func TestGenerateFaults(t *testing.T) {
	for _, args := range []string{
		"", "1-3", "1 a$", "x-3 a$", "1-x a$", "3-1 a$", "1-3/0 a$", "-1-3 a$", "1-3 a${", "1-3 a${}", "1-3 a${1,2,d,4}",
		"1-3 a${1,2,q}", "1-3 a${1,-2}", "1-3 a${1,1000}",
	} {
		if _, err := newGenerator(args); err == nil {
			t.Errorf("%q was taken", args)
		}
	}
}
