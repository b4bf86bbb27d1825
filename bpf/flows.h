/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The flows that the kernel forwards by itself, and what became of packets. All maps are pinned beside the program's
 * links, so that flows outlive the process that has put them in. Only user space adds and removes flows.
 */
#ifndef ANYPORT_FLOWS_H
#define ANYPORT_FLOWS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

/* In network byte order; an IPv4 address is mapped into IPv6 (::ffff:a.b.c.d). */
struct ip_address {
	__u32 word[4];
};

/*
 * TIME_SHIFT makes units of time of nanoseconds of CLOCK_MONOTONIC: 16.8 ms, so that 32 bits last 2.3 years and, as
 * times are compared by their difference, an idle timeout may take half of that.
 */
enum { TIME_SHIFT = 24 };

/* Where a datagram comes from and goes to. */
struct tuple {
	struct ip_address source;
	struct ip_address destination;
	__be16 source_port;
	__be16 destination_port;
};

/*
 * One direction of a flow: client to upstream, or back. It fills two cache lines, so that CPUs which forward one direction
 * each do not write to each other's. What the program writes are seen, packets and bytes.
 */
struct half {
	struct tuple from; /* of datagrams as they come */
	struct tuple to;   /* of the same as they leave */
	__u32 delta;       /* to less from, of the addresses, as a one's complement sum of 32-bit words (RFC 1071) */
	__u32 idle;        /* units of time; 0: never */
	__u32 started;     /* of the flow, in units of time */
	__u16 route;       /* key of routes */
	__u16 generation;  /* of the routes, in the process that has put the flow in; 0: the slot is free */
	__u32 seen;        /* units of time: the last datagram */
	__u32 longest;     /* bytes of the longest IP packet that may leave */
	__u64 packets;     /* datagrams; one of a GSO train counts by itself */
	__u64 bytes;       /* of payload */
	__u64 spare[2];
};

/*
 * A flow. User space writes a slot whole, before the index leads to it, and not again for a second after it has taken the
 * flow out of the index (restUnits in proxy/offload), so that the program reads a flow or nothing.
 */
struct flow {
	struct half in;  /* the client, and the destination that it dialled, become the NAT address and the upstream */
	struct half out; /* the other way round, of the answers */
};

/* Keyed by slot, as long as the option MaxFlows says, MAX_SLOTS at most. User space maps it into its memory. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct flow);
} flows SEC(".maps");

/*
 * A place of the index is 0, free, or tells a half: 2 * slot + 1, and one more for the way out; above PLACE_BITS it has the
 * low bits of the hash. A bucket is one cache line. Its places are filled from the first one on.
 */
enum { MAX_SLOTS = 1 << 20, PLACE_BITS = 22, BUCKET_SIZE = 16 };

struct bucket {
	__u32 place[BUCKET_SIZE];
};

/*
 * Keyed by the high half of the hash of half.from, as many of its low bits as the size, a power of two, allows. User space
 * has mapped it, too; a flow that finds its bucket full is not forwarded.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct bucket);
} buckets SEC(".maps");

enum { ROUTE_NAME_SIZE = 64, MAX_ROUTES = 16384 };

struct route {
	__u8 name[ROUTE_NAME_SIZE]; /* filled up with zeros */
};

/* Keyed by flow.route. The program does not read it: by it another process knows a flow's route again. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MAX_ROUTES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct route);
} routes SEC(".maps");

/* What became of a UDP packet of a flow, or of one that could be of a flow. Others are not counted. */
enum outcome {
	OUTCOME_IN,         /* on its way to the upstream */
	OUTCOME_OUT,        /* on its way to the client */
	OUTCOME_FRAGMENT,   /* left to the sockets: an IPv4 fragment, whose flow only its first one would tell */
	OUTCOME_OPTIONS,    /* left: IPv4 options, which a router would have to look at */
	OUTCOME_LENGTH,     /* left: the lengths of frame, IP and UDP do not agree */
	OUTCOME_OFF,        /* left: user space has switched forwarding off, and says why */
	OUTCOME_IDLE,       /* left: the flow's idle timeout has passed */
	OUTCOME_TTL,        /* left: TTL or hop limit does not allow one more hop */
	OUTCOME_TOO_BIG,    /* left: larger than the MTU of the path, or than half.longest; the sockets' way cuts it */
	OUTCOME_NO_ROUTE,   /* left: no route that leads out of this host */
	OUTCOME_FORWARDING, /* left: lo has forwarding off, and without it the kernel does not answer which route */
	OUTCOME_MEMORY,     /* left: no memory to change the headers */
	OUTCOMES,
};

/* Keyed by enum outcome: packets as they came, a GSO train being one. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, OUTCOMES);
	__type(key, enum outcome);
	__type(value, __u64);
} outcomes SEC(".maps");

/* SCHEMA changes whenever a program or a process of another version could misread a pinned map. */
enum schema {
	SCHEMA = 3,
};

/* Bits: what user space has switched on for the program, and switches off when the program goes. */
enum switched {
	SWITCHED_FORWARDING4 = 1, /* net.ipv4.conf.lo.forwarding */
	SWITCHED_FORWARDING6 = 2, /* net.ipv6.conf.lo.forwarding */
};

struct meta {
	enum schema schema; /* of the version that made the maps */
	__u32 on;           /* 0: every packet is left, and the flows stay as they are */
	enum switched switched;
	__u32 changes; /* of routes and devices, so far: what was found out before the last one is found out again */
	__u64 seed;    /* of the index's hash: random, so that nobody can choose addresses that share a bucket */
};

/* One element. Of it, the program reads on, changes and seed. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct meta);
} meta SEC(".maps");

#endif
