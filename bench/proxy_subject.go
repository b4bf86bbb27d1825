package bench

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// proxySubject is one way to bring what a client sends to an upstream.
type proxySubject struct {
	name         string
	needs        map[string]string          // programs -> the Debian package of each
	prepare      func(b *proxyBed) error    // sets up the namespaces
	config       func(b *proxyBed) string   // of the program, if it has a file
	command      func(b *proxyBed) []string // nil: the kernel forwards
	canLog       bool                       // whether it has an access log
	logsToStdout bool                       // and no way to write it to a file by itself
	change       func(b *proxyBed) error    // exchanges the rules; nil where no work does
	onceOnly     bool                       // it takes part in the work of new UDP flows only
	capped       bool                       // it has as many flows as it may have
	perFlow      bool                       // a UDP flow takes a descriptor of it, or more
	establishes  int                        // after how many datagrams with their answers a UDP flow is established; 0 is 1
	detect       func(b *proxyBed) string   // says why it cannot be measured once it runs, or ""; nil: it always can
}

// missing says which program the subject lacks, or "".
func (s *proxySubject) missing() string {
	for program, pkg := range s.needs {
		if why := missingProgram(program, pkg); why != "" {
			return why
		}
	}
	return ""
}

// unable says why a subject that runs cannot be measured, or "".
func (s *proxySubject) unable(b *proxyBed) string {
	if s.detect == nil {
		return ""
	}
	return s.detect(b)
}

// prepareNothing is for a subject that makes the prefixes local by itself.
func prepareNothing(*proxyBed) error { return nil }

// prepareLocal gives the proxy the dialled addresses, for one that binds them.
func prepareLocal(b *proxyBed) error {
	var errs []error
	for _, f := range proxyFamilies {
		errs = append(errs, b.Proxy.AddAddr("lo", netip.PrefixFrom(f.dialled, f.dialled.BitLen())))
	}
	return errors.Join(errs...)
}

// prepareForwarding makes the proxy a router.
func prepareForwarding(b *proxyBed) error {
	errs := []error{b.Proxy.Sysctl("net.ipv4.ip_forward", "1"), b.Proxy.Sysctl("net.ipv6.conf.all.forwarding", "1")}
	for _, f := range proxyFamilies {
		for _, clients := range []netip.Prefix{netip.PrefixFrom(f.client, f.client.BitLen()), f.clients} {
			errs = append(errs, b.Upstream.AddRoute(clients, f.towardsServer))
		}
	}
	return errors.Join(errs...)
}

// prepareRouter leads the prefixes to the upstream, whose own they are.
func prepareRouter(b *proxyBed) error {
	errs := []error{prepareForwarding(b)}
	for _, f := range proxyFamilies {
		errs = append(errs, b.Proxy.AddRoute(f.prefix, f.upstream), b.Upstream.AddLocalRoute(f.prefix))
	}
	return errors.Join(errs...)
}

// prepareTransparent sets TPROXY up: rules and policy routing that bring the prefixes to a transparent listener.
func prepareTransparent(b *proxyBed) error {
	for i, program := range []string{"iptables-nft", "ip6tables-nft"} {
		for _, rule := range iptablesRules(proxyFamilies[i].prefix.String()) {
			if err := runIn(b.Proxy, "", program, append([]string{"-w", "-t", "mangle"}, strings.Fields(rule)...)...); err != nil {
				return err
			}
		}
	}
	return errors.Join(policyRouting(b.Proxy, false), policyRouting(b.Proxy, true))
}

// anyportSubject is anyport with a configuration.
func anyportSubject(name, anyport string, config func(b *proxyBed) string) proxySubject {
	return proxySubject{name: name, prepare: prepareNothing, config: config, canLog: true,
		command: func(b *proxyBed) []string { return []string{anyport, "run", "-c", b.config()} }}
}

// anyportRoutes leads each family to its upstream, on the original port.
func anyportRoutes(more string) string {
	text := ""
	for _, f := range proxyFamilies {
		text += fmt.Sprintf("\n[[route]]\nname = %q\nprefix = [%q]\nupstream = [%q]\n%s", f.name, f.prefix, f.upstream, more)
	}
	return text
}

// anyportConfigOf is a configuration with one route for each family; more goes into each route.
func anyportConfigOf(b *proxyBed, global, more string) string {
	log := "none"
	if b.logs {
		log = b.accessLog()
	}
	return fmt.Sprintf("prefixes = [%q, %q]\nmetrics = \"none\"\ndrain_timeout = \"100ms\"\nworkers = %d\naccess_log = %q\n%s%s",
		proxyFamilies[0].prefix, proxyFamilies[1].prefix, proxyThreads, log, global, anyportRoutes(more))
}
