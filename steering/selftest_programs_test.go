package steering

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"anyport/conf/rule"
)

// TestSelftestPrograms lets several programs judge a packet. "ours" is the steering program; the others are foreign, in
// the order in which they are attached.
func TestSelftestPrograms(t *testing.T) {
	for _, c := range []struct {
		programs string // "pass", "drop", "a", "b": selects that socket; "ours": the steering program
		ours     rule.Verdict
		met      string
		counted  Outcome // by ours
	}{
		{programs: "pass pass", met: "daemon"},
		{programs: "drop drop", met: refused},
		{programs: "pass drop", met: refused},
		{programs: "drop pass", met: refused},
		{programs: "pass a", met: "a"},
		{programs: "a pass", met: "a"},
		{programs: "drop a", met: "a"},
		{programs: "a drop", met: "a"},
		{programs: "a b", met: "b"},
		{"ours", rule.Steer, "ours", Steered},
		{"ours", rule.Refuse, refused, Refused},
		{"ours", rule.Pass, "daemon", Passed},
		{"pass ours", rule.Steer, "ours", Steered},
		{"ours pass", rule.Steer, "ours", Steered},
		{"drop ours", rule.Steer, "ours", Steered},
		{"ours drop", rule.Steer, "ours", Steered},
		{"a ours", rule.Steer, "a", Taken},
		{"ours a", rule.Steer, "a", Steered},
		{"a ours b", rule.Steer, "b", Taken},
		{"pass ours", rule.Refuse, refused, Refused},
		{"ours pass", rule.Refuse, refused, Refused},
		{"a ours", rule.Refuse, "a", Taken},
		{"ours a", rule.Refuse, "a", Refused},
		{"ours pass", rule.Pass, "daemon", Passed},
		{"ours drop", rule.Pass, refused, Passed},
		{"drop ours", rule.Pass, refused, Passed},
		{"a ours", rule.Pass, "a", Taken},
		{"ours a", rule.Pass, "a", Passed},
	} {
		t.Run(fmt.Sprint(c.programs, " ", c.ours), func(t *testing.T) {
			w := newWorld(t)
			w.servers = newServers(t)
			w.makeLocal(prefix4, prefix6)
			w.listenEverywhere(7)
			var s *Steering
			for _, name := range strings.Fields(c.programs) {
				if name == "ours" {
					s = w.load()
					w.serve(s, w.servers, 0, "ours")
					publish(t, s, verdictSet(c.ours))
				}
				w.attachForeign(name)
			}
			packets := uint64(0)
			for _, addr := range families {
				for _, p := range both {
					packets++
					if who := w.servers.who(w.ns, p, netip.Addr{}, netip.AddrPortFrom(addr, 7)); who != c.met {
						t.Errorf("%s %s met %q, want %q", p, addr, who, c.met)
					}
				}
			}
			if s != nil {
				(&outcomeTest{world: w, s: s}).wantCounts(counts(c.counted), packets)
				wantForeign(t, s, strings.Fields(c.programs))
			}
		})
	}
}

// verdictSet has one rule, with this verdict for everything.
func verdictSet(v rule.Verdict) rule.Set {
	set := steerAll()
	set.Rules[0].Verdict = v
	return set
}

// attachForeign attaches a foreign program: one for TCP and UDP alike, which selects the first socket that fits.
func (w *world) attachForeign(name string) {
	w.t.Helper()
	spec := foreignSpec{verdict: skPass}
	f := newForeignWorld(w)
	switch name {
	case "ours":
		return
	case "drop":
		spec.verdict = skDrop
	case "a", "b":
		for slot, p := range both {
			f.put(slot, w.socket(p, "dual", name))
			spec.calls = append(spec.calls, assignCall{slot, flagReplace})
		}
	}
	f.attach(f.program(spec))
}

// wantForeign checks the list of foreign programs: all but ours, in the order of attachment.
func wantForeign(t *testing.T, s *Steering, programs []string) {
	t.Helper()
	list, err := s.ForeignPrograms()
	if err != nil || len(list) != len(programs)-1 {
		t.Fatalf("foreign programs of %q: %+v, %v", programs, list, err)
	}
	before := true
	for _, name := range programs {
		if name == "ours" {
			before = false
			continue
		}
		f := list[0]
		list = list[1:]
		if f.Name != "foreign" || f.Before != before || f.ProgramID == 0 || f.LinkID == 0 || len(f.Tag) != 16 {
			t.Errorf("foreign program %q of %q: %+v", name, programs, f)
		}
	}
}
