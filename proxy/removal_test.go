package proxy

import (
	"fmt"
	"testing"

	"anyport/proxy/stats"
)

// An upstream that a reload, or a DNS answer, takes away: its connections are reset if the route says so, and go on
// otherwise; those to the upstream that stays never notice.
func TestCloseOnRemoval(t *testing.T) {
	for _, closes := range []bool{true, false} {
		for _, by := range []string{"reload", "DNS", "removal of the route"} {
			t.Run(fmt.Sprintf("%s, close %v", by, closes), func(t *testing.T) { testRemoval(t, by, closes) })
		}
	}
}

func testRemoval(t *testing.T, by string, closes bool) {
	r := newRig(t, home)
	port := greeter(t, "127.0.0.2:0", "a")[len("127.0.0.2:"):]
	greeter(t, "127.0.0.3:"+port, "b")
	text := func(upstreams string) string {
		return home + fmt.Sprintf("[[route]]\nname = \"web\"\nbalance = \"round_robin\"\nupstream = [%s]\n"+
			"close_on_removal = %v\n", upstreams, closes)
	}
	r.name("two.test", "127.0.0.2", "127.0.0.3")
	must(t, r.put(text(`"two.test:`+port+`"`)))
	r.run(t.Context())
	goes, stays := r.dial(), r.dial()
	name := make([]byte, 1)
	if _, err := goes.Read(name); err != nil {
		t.Fatal(err)
	}
	wantGreeting(t, stays, map[string]string{"a": "b", "b": "a"}[string(name)])
	if name[0] == 'b' {
		goes, stays = stays, goes
	}
	switch by {
	case "reload":
		must(t, r.put(text(`"127.0.0.3:`+port+`"`)))
	case "DNS":
		r.name("two.test", "127.0.0.3")
		must(t, r.refreshAll())
	default:
		must(t, r.put(home+routeOf("other", "127.0.0.3:"+port)))
	}
	ended := func() uint64 { return stats.Sum(r.registry.Route("web").TCP).Ended[stats.UpstreamRemoved.String()] }
	switch {
	case !closes:
		wantEcho(t, goes)
		wantEcho(t, stays)
	case by == "removal of the route":
		wantReset(t, goes)
		wantReset(t, stays)
	default:
		wantReset(t, goes)
		wantEcho(t, stays)
	}
	if n := ended(); (n > 0) != closes {
		t.Errorf("%d connections ended because of the removal", n)
	}
}
