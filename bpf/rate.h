/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Limits on the rate of new TCP connections from each network of sources.
 *
 * What is counted are lookups of the listener that lead to a service: the SYN of a connection and, when the kernel
 * answers with SYN cookies, also the segment that ends the handshake. The context does not tell one from the other, so a
 * SYN that is admitted leaves a mark by which the next lookup of the same connection is free. The rate is kept as the
 * generic cell rate algorithm does (ITU-T I.371, annex A): one time for each network, at which it would be back at rest.
 */
#ifndef ANYPORT_RATE_H
#define ANYPORT_RATE_H

#include "packet.h"
#include "report.h"
#include "shared.h"
#include "tables.h"

/*
 * How long a mark is good for: a cookie's SYN-ACK is sent once, and this is more than any round trip. A client that
 * takes the same ports again within that time gets a second connection for the price of one, and no third.
 */
#define HANDSHAKE_NS (2 * 1000000000ULL)

/* 8 CPUs at once on one network; whoever loses more often than that is above any rate. */
enum { RATE_TRIES = 8 };

/* network_word cuts the i-th word of an address to what the first bits bits of the address leave of it. */
static __always_inline __u32 network_word(__u32 word, int i, __u32 bits)
{
	__u32 before = 32 * i;

	if (bits >= before + 32)
		return word;
	if (bits <= before)
		return 0;
	return word & bpf_htonl(~0U << (before + 32 - bits));
}

static __always_inline struct bucket_key bucket_of(struct bpf_sk_lookup *ctx, const struct rate *rate, __u32 counter)
{
	struct bucket_key key = {.counter = counter, .family = CTX(ctx, family)};
	struct address src = source(ctx);
	__u32 bits = is_ipv4(ctx) ? rate->bits4 : rate->bits6;

	for (int i = 0; i < 4; i++)
		key.ip[i] = network_word(src.ip[i], i, bits);
	return key;
}

/* spend takes one connection from the network's bucket, and reports whether there was one. */
static __always_inline bool spend(const struct bucket_key *key, const struct rate *rate, __u64 now)
{
	__u64 fresh = now + rate->interval;
	__u64 *rest = bpf_map_lookup_elem(&buckets, key);

	if (!rest) {
		if (!bpf_map_update_elem(&buckets, key, &fresh, BPF_NOEXIST))
			return true;
		rest = bpf_map_lookup_elem(&buckets, key); /* another CPU was first */
		if (!rest)
			return false; /* the map takes no more: with no way to count, nothing is admitted */
	}
#pragma clang loop unroll(disable)
	for (int i = 0; i < RATE_TRIES; i++) {
		__u64 seen = *(volatile __u64 *)rest;
		__u64 from = seen > now ? seen : now;

		if (from - now > rate->tolerance)
			return false;
		if (__sync_val_compare_and_swap(rest, seen, from + rate->interval) == seen)
			return true;
	}
	return false;
}

static __always_inline struct handshake_key handshake_of(struct bpf_sk_lookup *ctx)
{
	struct handshake_key key = {
		.src_port = source_port(ctx),
		.dst_port = destination_port(ctx),
		.family = CTX(ctx, family),
	};
	struct address src = source(ctx), dst = destination(ctx);

	__builtin_memcpy(key.src, src.ip, sizeof(key.src));
	__builtin_memcpy(key.dst, dst.ip, sizeof(key.dst));
	return key;
}

/* begun reports whether the connection's SYN has been admitted, once. */
static __always_inline bool begun(const struct handshake_key *key, __u64 now)
{
	__u64 *until = bpf_map_lookup_elem(&handshakes, key);
	bool valid = until && now < *until;

	if (until)
		bpf_map_delete_elem(&handshakes, key);
	return valid;
}

/* admit reports whether the rate of a rule, whose counter is given, lets a packet through. UDP has no rates here. */
static __always_inline bool admit(struct bpf_sk_lookup *ctx, __u32 place, __u32 counter)
{
	const struct rate *rate;
	struct bucket_key bucket;
	struct handshake_key handshake;
	__u64 now, until;

	if (!place || is_udp(ctx) || report_all) /* a twin is asked about rules, and whoever asks is no client */
		return true;
	rate = bpf_map_lookup_elem(&rates, &place);
	if (!rate)
		return true;
	now = bpf_ktime_get_ns();
	handshake = handshake_of(ctx);
	if (begun(&handshake, now))
		return true;
	bucket = bucket_of(ctx, rate, counter);
	if (!spend(&bucket, rate, now))
		return false;
	until = now + HANDSHAKE_NS;
	bpf_map_update_elem(&handshakes, &handshake, &until, BPF_ANY);
	return true;
}

#endif
