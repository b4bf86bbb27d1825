package steering_test

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/netip"

	"anyport/conf/rule"
	"anyport/steering"
)

// A server that answers on every TCP port of a prefix. It compiles as it is; it runs as root, and leaves what it loads
// for its next start.
func Example() {
	prefix := netip.MustParsePrefix("198.18.0.0/20")
	table, err := rule.Compile(rule.Set{
		Prefixes: []rule.Prefix{{Prefix: prefix}},
		Rules: []rule.Rule{{
			Name: "everything", Protocol: rule.TCP, Verdict: rule.Steer, Service: 0, Fallback: rule.NoService,
		}},
	})
	if err != nil {
		log.Fatal(err)
	}
	s, err := steering.LoadOrOpen(steering.Options{})
	if err != nil {
		log.Fatal(err, "\nhint: ", steering.Hint(err))
	}
	defer s.Close()
	if _, err := s.Publish(table); err != nil {
		log.Fatal(err)
	}
	routes, err := steering.OpenLocalRoutes(steering.LocalRouteOptions{})
	if err != nil {
		log.Fatal(err)
	}
	defer routes.Close()
	if err := routes.Sync([]netip.Prefix{prefix}); err != nil {
		log.Fatal(err)
	}
	var lc net.ListenConfig
	lc.SetMultipathTCP(false) // a socket map takes no MPTCP listener
	l, err := lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	if err := s.Assign(0, rule.TCP, l.(*net.TCPListener)); err != nil {
		log.Fatal(err)
	}
	for {
		c, err := l.Accept()
		if err != nil {
			log.Fatal(err)
		}
		fmt.Fprintf(c, "you dialled %s\n", c.LocalAddr())
		c.Close()
	}
}
