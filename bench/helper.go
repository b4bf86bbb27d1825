package bench

// helpers are what anyport-bench runs itself as inside a lab, by the name that is its first argument. None is a suite's.
var helpers = map[string]func(args []string) error{
	stockDNS:     serveStockDNS,
	tcpUpstream:  serveTCPUpstream,
	copyProxy:    serveCopyProxy,
	udpUpstream:  serveUDPUpstream,
	udpBareProxy: serveUDPBareProxy,
	udpCopyProxy: serveUDPCopyProxy,
}

// Helper returns what a command line of anyport-bench runs that a suite has started; ok is false for one of a user.
func Helper(args []string) (run func() error, ok bool) {
	if len(args) == 0 {
		return nil, false
	}
	helper, ok := helpers[args[0]]
	return func() error { return helper(args[1:]) }, ok
}
