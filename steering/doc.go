// Package steering directs every port of whole prefixes to a few sockets: it loads a BPF sk_lookup program into a
// network namespace, fills its tables from compiled rules, and puts sockets into the slots that the rules name.
//
// # A packet's path
//
// A TCP SYN, or a UDP datagram that no connected socket claims, arrives for a local address. Before the kernel looks
// for a bound socket it runs the program (bpf/steer.c). The destination address leads to a list of port intervals, the
// interval and the source address to an action: steer to a service, refuse (RST, ICMP port unreachable), or pass to the
// normal lookup. A service has two slots, one for TCP and one for UDP; a slot holds one socket, or one member of a
// reuseport group for all of it. If the service's slot is empty or its socket unfit, the fallback service is tried, and
// then the packet is refused. Addresses outside every prefix are passed. Established connections never meet the
// program.
//
// # What exists, and who owns it
//
// The program's attachment (a bpf_link), its maps and the sockets' slots live in the kernel, held by pins in
// BPFFS/anyport/INODE, INODE being that of the network namespace. They belong to no process: [Load] makes them,
// [Unload] removes them, [Open] finds them again after a restart or a crash. Sockets belong to the processes that
// opened them; closing one empties its slot, and the program then refuses what the slot was for. A namespace that ends
// takes its link with it; the next Load removes the pins that are left of it.
//
//	link                    the attachment; a directory without a live one counts as not loaded
//	sockets                 slots; who may write its pin may receive the traffic
//	counters                per rule, per outcome, per CPU
//	samples, sampling       a ring buffer of refused packets, and how often one is taken
//	meta                    the schema number of all this
//	generation-N/           the program and the tables of one rule set
//
// # Generations
//
// [Steering.Publish] replaces the whole rule set, and the program with it: new maps are filled, a new program is loaded
// over them, both are pinned as generation-N+1, one atomic update of the link makes them live, and generation-N is
// removed. A packet is judged by the old set or by the new one, never by parts of both. The link alone tells which
// generation is live, so a crash between any two steps leaves the old state or the new one, and the next writer clears
// away the rest. A rule keeps its counters by its name. Writers exclude one another by flock(2) on BPFFS/anyport.
//
// # Using it
//
//	s, err := steering.LoadOrOpen(steering.Options{})
//	g, err := s.Publish(table)                      // from rule.Compile
//	err = s.Assign(service, rule.TCP, listener)     // a *net.TCPListener without MPTCP
//
// The addresses must be local to the host for packets to get this far: [LocalRoutes] adds `local PREFIX dev lo`. Other
// programs' sockets can be slots' content just as well; nothing here opens a socket of its own for traffic.
//
// Errors of the kernel keep their errno. Several carry advice for the operator: see [Hint].
package steering
