/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The tables of one generation. Each generation has maps of its own, which are filled, frozen and never changed, and
 * are pinned in the generation's directory. The sizes given here are placeholders: each map is made as long as its
 * content.
 *
 * Frozen arrays must not have BPF_F_RDONLY_PROG as well: the verifier then wants to know their content, which it can
 * for arrays of one element only, and fails with ENOTSUPP for others (array_map_direct_value_addr,
 * kernel/bpf/arraymap.c).
 */
#ifndef ANYPORT_TABLES_H
#define ANYPORT_TABLES_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "shared.h"

/* A list of port intervals: len elements of intervals from offset on. */
struct list {
	__u32 offset;
	__u32 len;
};

/* A destination prefix and its lists for each protocol. */
struct node {
	struct list tcp;
	struct list udp;
};

struct dst4_key {
	__u32 prefixlen;
	__u8 ip[4];
};

struct dst6_key {
	__u32 prefixlen;
	__u8 ip[16];
};

/* Keyed by served prefix or prefix of a rule, longest match; the addresses outside them all are not ours. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct dst4_key);
	__type(value, struct node);
} dst4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct dst6_key);
	__type(value, struct node);
} dst6 SEC(".maps");

/* The ports from first up to the next interval's first. The first interval of a list begins at 0. */
struct interval {
	__u16 first;
	__u16 pad;
	__u32 row;
};

/* Keyed by place in a list: every list of the generation, end to end. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct interval);
} intervals SEC(".maps");

/* What the port stage leads to: actions[base + ordinal of the source in source_set]; set 0 has no sources. */
struct row {
	__u32 source_set;
	__u32 base;
};

/* Keyed by interval.row. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct row);
} rows SEC(".maps");

struct src4_key {
	__u32 prefixlen; /* 32 for the set, and the prefix's own */
	__u32 set;
	__u8 ip[4];
};

struct src6_key {
	__u32 prefixlen; /* 32 for the set, and the prefix's own */
	__u32 set;
	__u8 ip[16];
};

/* Keyed by (source set, source prefix), longest match within the set; the value is the ordinal, none found is 0. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct src4_key);
	__type(value, __u32);
} src4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct src6_key);
	__type(value, __u32);
} src6 SEC(".maps");

struct action {
	enum verdict verdict;
	__u16 service;
	__u16 fallback; /* the service to try next, or NO_SERVICE */
	__u32 counter;  /* key of counters and of rules */
	__u32 rate;     /* key of rates; 0: none */
};

/* Keyed by row.base plus ordinal. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct action);
} actions SEC(".maps");

/* A rate of new TCP connections from each network of sources. */
struct rate {
	__u64 interval;  /* ns from one connection to the next, on average */
	__u64 tolerance; /* ns that connections may come early: a burst of tolerance / interval + 1 */
	__u32 bits4;     /* of an IPv4 network's prefix */
	__u32 bits6;
};

/* Keyed by action.rate. Place 0 has none. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct rate);
} rates SEC(".maps");

enum { RULE_NAME_SIZE = 64 }; /* rule.Rule: names have up to 63 bytes */

/* A rule as user space lists it. One of an older generation has vanished; its id waits for it to come back. */
struct rule {
	__u8 name[RULE_NAME_SIZE]; /* filled up with zeros */
	__u64 generation;          /* the last one that had the rule */
	enum verdict verdict;
	__u16 service;
	__u16 fallback;
};

/* Keyed by counter id. The program does not read it: by its name in here a rule keeps its id, and so its counters. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct rule);
} rules SEC(".maps");

#endif
