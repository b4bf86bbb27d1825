package upstream

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"anyport/conf"
)

// What status and the metrics tell of an endpoint on its way out and back in.
func TestInfo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		route := ejecting
		route.SlowStart = 16 * time.Second
		c := newCrew(t, 2, route)
		state := func(want State, reason string) {
			t.Helper()
			if got := c.Info()[0]; got.State != want || !strings.Contains(got.Reason, reason) || (reason == "") != (got.Reason == "") {
				t.Errorf("the endpoint is %+v, want %s", got, want)
			}
		}
		state(Up, "")
		c.fail(0, 4)
		state(Ejected, "3 connects in a row")
		if got := c.Info()[0].Since; !got.Equal(time.Now()) {
			t.Errorf("since %v, want now", got)
		}
		checkMetrics(t, c)
		after(12 * time.Second)
		state(SlowStart, "")
		after(16 * time.Second)
		state(Up, "")
	})
}

func checkMetrics(t *testing.T, c *crew) {
	t.Helper()
	c.member(1).claim()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(c.pool)
	if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
		t.Errorf("promlint: %v, %v", problems, err)
	}
	const want = `
# HELP anyport_upstream_connect_failures_total Connects to the upstream that failed.
# TYPE anyport_upstream_connect_failures_total counter
anyport_upstream_connect_failures_total{route="web",upstream="127.0.1.1:80"} 4
anyport_upstream_connect_failures_total{route="web",upstream="127.0.1.2:80"} 0
# HELP anyport_upstream_connections_active TCP connections and UDP flows of the upstream that are open or connecting.
# TYPE anyport_upstream_connections_active gauge
anyport_upstream_connections_active{route="web",upstream="127.0.1.1:80"} 0
anyport_upstream_connections_active{route="web",upstream="127.0.1.2:80"} 1
# HELP anyport_upstream_ejections_total How often the upstream was ejected because connects failed.
# TYPE anyport_upstream_ejections_total counter
anyport_upstream_ejections_total{route="web",upstream="127.0.1.1:80"} 1
anyport_upstream_ejections_total{route="web",upstream="127.0.1.2:80"} 0
# HELP anyport_upstream_up Whether the upstream takes connections: 0 while it is out.
# TYPE anyport_upstream_up gauge
anyport_upstream_up{route="web",upstream="127.0.1.1:80"} 0
anyport_upstream_up{route="web",upstream="127.0.1.2:80"} 1
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "anyport_upstream_up",
		"anyport_upstream_connections_active", "anyport_upstream_connect_failures_total",
		"anyport_upstream_ejections_total"); err != nil {
		t.Error(err)
	}
}

// An endpoint that has gone shows as long as it has connections.
func TestRemovedInfo(t *testing.T) {
	c := newCrew(t, 2, conf.Route{})
	c.member(0).claim()
	held := c.member(0)
	c.Use(c.Endpoints()[1:])
	if gone := c.pool.Removed()["web"]; len(gone) != 1 || gone[0].State != Removed || gone[0].Active != 1 {
		t.Errorf("removed: %+v, want the endpoint with a connection", gone)
	}
	held.Release()
	if gone := c.pool.Removed(); len(gone) != 0 {
		t.Errorf("removed: %+v, want none", gone)
	}
}
