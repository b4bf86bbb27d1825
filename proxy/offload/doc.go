// Package offload puts tc programs onto the devices of a network namespace, and keeps them there as devices come and
// go: by tcx, or by the clsact qdisc where the kernel has no tcx ([Attach], [Links]).
//
// # Trains
//
// [Transmit] sends trains of UDP datagrams (UDP_SEGMENT) from any address and port. A UDP socket can choose the address
// that it sends from, but its port is the one that it is bound to. So the train is sent over lo, from a socket that is
// connected to itself, and a program at the end of lo (bpf/transmit.c) puts the real addresses and ports in and hands it
// to the device that the routes lead to. Neither routing rules nor marks nor conntrack come into it, no other device
// needs a program, and what the program has not seen cannot leave the host. The program answers within the system call
// whether the train has gone; if not, the caller cuts it.
//
// The way out is asked of the routing tables, with the real addresses and ports, and remembered for 250 ms.
//
// # Flows that the kernel forwards
//
// A [Forwarder] has a tcx program (bpf/offload.c) forward the UDP flows of a [Table], both ways, before netfilter and
// routing: the program gives a packet the addresses of the flow's other side, mends the checksum, decrements the TTL and
// sends it on along the route that the host itself would take. What it does not forward goes on to the sockets, so that
// nothing is lost: fragments, IPv4 options, packets larger than the path's MTU, those whose TTL is at its end, those whose
// way does not lead out of the host, and those of flows whose idle timeout has passed. Each is counted with its reason
// ([Table.Outcomes]).
//
// Who forwards flows through sockets puts them into the table ([Table.Offer]) and takes them out ([Table.Withdraw]). The
// table lies in memory that the kernel shares, so that neither that nor [Table.Usage] takes a system call.
//
// The way of a packet of up to 1,280 bytes is remembered by the program for 17 ms at most, and not beyond a change of
// routes or devices that the Forwarder has told it of; that of a larger one is asked of the routing tables each time. The
// neighbour is the kernel's business.
//
// # What exists, and who owns it
//
// Maps, and the program's link on each device, are pinned in one directory. They belong to no process: flows go on when
// the process is killed, and [Open] finds them again. Time runs on in the program: a flow that is idle for its timeout is
// not forwarded any more, whether anybody takes it out or not.
//
//	flows               a row for each flow: addresses, route, counters, times
//	buckets             an index of the rows, by the addresses and ports of packets
//	routes              the names of routes
//	outcomes            what became of packets
//	meta                the schema number, the switch, and how often routes have changed
//	forward-ingress-N   the link on device N
//
// # When it is off
//
// Forwarded packets do not meet the host's packet filter or IPsec. A Forwarder looks for rules that they would have met
// and is off while there are any, as it is where the kernel has no tcx; it says why.
package offload
