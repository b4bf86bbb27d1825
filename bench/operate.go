package bench

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The works of an operator, done while connections go on and on, and what they lose meanwhile. The proxy is anyport,
// once steered by sk_lookup, whose rules a reload exchanges, and otherwise behind rules of netfilter, which are loaded.
var operations = []proxyWork{
	{name: "change 10,000 rules", per: "change", figures: operationTime, measure: measureChange},
	{name: "kill -9, and start at once", per: "kill", figures: operationTime, measure: measureKill},
	{name: "stop, and start at once", per: "restart", figures: operationTime, measure: measureRestart},
}

var operationTime = []Figure{{"time until it serves as it should", "ms", false}}

// changedRules is how many rules a change replaces. Each is for a port of its own; markerPort is served or not in turn.
const (
	changedRules = 10_000
	firstRule    = 10_000
	markerPort   = firstRule + changedRules
)

// operationSubjects returns anyport with as many rules, steered in each of the ways.
func operationSubjects(p proxyPrograms) []proxySubject {
	steered := anyportSubject(anyportName, p.anyport, func(b *proxyBed) string { return manyRoutes(b.marked) })
	steered.change = reloadRoutes
	again := steered
	again.name += againSuffix
	nft := anyportSubject("nft TPROXY", p.anyport, transparentConfig)
	nft.needs, nft.prepare, nft.change = nftPrograms, loadNft, loadNft
	iptables := anyportSubject("iptables-nft TPROXY", p.anyport, transparentConfig)
	iptables.needs = map[string]string{"iptables-nft-restore": "iptables"}
	iptables.prepare, iptables.change = restoreIptables, restoreIptables
	return []proxySubject{steered, again, nft, iptables}
}

// transparentConfig has one route: the rules decide.
func transparentConfig(b *proxyBed) string {
	return operationConfig(fmt.Sprintf("tproxy_port = %d\n", steerPort)) +
		fmt.Sprintf("[[route]]\nprotocol = \"tcp\"\nupstream = [\"%s:%d\"]\n", proxyFamilies[0].upstream, oncePort)
}

// operationConfig is what all configurations have in common; every connection gets one answer.
func operationConfig(more string) string {
	return fmt.Sprintf("prefixes = [%q]\nmetrics = \"none\"\ndrain_timeout = \"100ms\"\nworkers = %d\n%s",
		proxyFamilies[0].prefix, proxyThreads, more)
}

// manyRoutes has a route for each of the rules.
func manyRoutes(marked bool) string {
	var text strings.Builder
	text.WriteString(operationConfig(""))
	for _, port := range ruledPorts(marked) {
		fmt.Fprintf(&text, "[[route]]\nprotocol = \"tcp\"\nports = \"%d\"\nupstream = [\"%s:%d\"]\n",
			port, proxyFamilies[0].upstream, oncePort)
	}
	return text.String()
}

// ruledPorts are the ports that have rules: those of the change, those that are watched meanwhile, and the marker.
func ruledPorts(marked bool) []int {
	ports := []int{echoPort, oncePort}
	for i := range changedRules {
		ports = append(ports, firstRule+i)
	}
	if marked {
		ports = append(ports, markerPort)
	}
	return ports
}

func reloadRoutes(b *proxyBed) error {
	if err := os.WriteFile(b.config(), []byte(manyRoutes(b.marked)), 0o644); err != nil {
		return err
	}
	return b.proxy.Signal(syscall.SIGHUP)
}

// loadNft exchanges the rules in one transaction.
func loadNft(b *proxyBed) error {
	var text strings.Builder
	fmt.Fprint(&text, "add table ip ruled\ndelete table ip ruled\ntable ip ruled {\nchain prerouting {\n"+
		"type filter hook prerouting priority mangle; policy accept;\n")
	for _, port := range ruledPorts(b.marked) {
		fmt.Fprintf(&text, "ip daddr %s tcp dport %d tproxy to :%d accept\n", proxyFamilies[0].prefix, port, steerPort)
	}
	fmt.Fprint(&text, "}\n}\n")
	return runIn(b.Proxy, text.String(), "nft", "-f", "-")
}

// restoreIptables exchanges the rules of the table.
func restoreIptables(b *proxyBed) error {
	var text strings.Builder
	fmt.Fprint(&text, "*mangle\n")
	for _, port := range ruledPorts(b.marked) {
		fmt.Fprintf(&text, "-A PREROUTING -p tcp -d %s --dport %d -j TPROXY --on-port %d\n", proxyFamilies[0].prefix, port, steerPort)
	}
	fmt.Fprint(&text, "COMMIT\n")
	return runIn(b.Proxy, text.String(), "iptables-nft-restore")
}

// operate does something while connections go on, and measures how long it takes until a port is served or refused, as
// it should. Connections that fail meanwhile are lost; at most one more is under way at the end.
func (b *proxyBed) operate(port uint16, served bool, do func() error) (sample Sample, err error) {
	stop, ended := make(chan struct{}), make(chan error, 1)
	var failed int
	go func() {
		ended <- b.Client.Do(func() (err error) {
			failed, err = connectUntil(stop, netip.AddrPortFrom(proxyFamilies[0].dialled, oncePort))
			return err
		})
	}()
	start := time.Now()
	err = do()
	if err == nil {
		err = b.Client.Do(func() error { return waitServed(netip.AddrPortFrom(proxyFamilies[0].dialled, port), served) })
	}
	took := time.Since(start)
	close(stop)
	err = errors.Join(err, <-ended)
	return Sample{Values: []float64{float64(took) / float64(time.Millisecond)}, Lost: failed}, err
}

// connectUntil makes connections one after the other, without a pause, until stop is closed.
func connectUntil(stop <-chan struct{}, to netip.AddrPort) (failed int, err error) {
	for {
		select {
		case <-stop:
			return failed, nil
		default:
		}
		l := &tcpShort{to: to, width: 1}
		if err := l.open(); err != nil {
			return failed, err
		}
		err := l.run(time.Time{}) // one connection
		failed += l.errors + l.lost
		if err := errors.Join(err, l.close()); err != nil {
			return failed, err
		}
	}
}

// waitServed waits until a port answers, or until it does not any more.
func waitServed(to netip.AddrPort, served bool) error {
	for end := time.Now().Add(proxyStartTime); time.Now().Before(end); time.Sleep(time.Millisecond) {
		l := &tcpShort{to: to, width: 1}
		if err := l.open(); err != nil {
			return err
		}
		err := l.run(time.Time{})
		if err := errors.Join(err, l.close()); err != nil {
			return err
		}
		if (l.done > 0) == served {
			return nil
		}
	}
	return fmt.Errorf("port %d: %w", to.Port(), os.ErrDeadlineExceeded)
}

func measureChange(b *proxyBed, _ *proxyFamily, _ time.Duration) (Sample, error) {
	b.marked = !b.marked
	return b.operate(markerPort, b.marked, func() error { return b.subject.change(b) })
}

func measureKill(b *proxyBed, _ *proxyFamily, _ time.Duration) (Sample, error) {
	return b.operate(echoPort, true, func() error {
		err := b.proxy.Signal(unix.SIGKILL)
		<-b.proxy.Done()
		return errors.Join(err, b.run())
	})
}

func measureRestart(b *proxyBed, _ *proxyFamily, _ time.Duration) (Sample, error) {
	return b.operate(echoPort, true, func() error { return errors.Join(b.stop(), b.run()) })
}

func operationWorks(beds []*proxyBed) (works []Work) {
	for i := range operations {
		works = append(works, operations[i].on(beds, "nft TPROXY", proxyFamilies[0], 0))
	}
	return works
}

// operationBeds starts the subjects of the operations that are here.
func (s *session) operationBeds(ctx context.Context, programs proxyPrograms) ([]*proxyBed, error) {
	return s.proxyBeds(ctx, operationSubjects(programs), proxyLine{
		self: programs.self, upstream: tcpUpstream, ready: func(b *proxyBed) error {
			return b.Client.Do(func() error { return waitServed(netip.AddrPortFrom(proxyFamilies[0].dialled, oncePort), true) })
		},
	})
}
