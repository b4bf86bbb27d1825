/* SPDX-License-Identifier: BSD-3-Clause */
/* Counting every packet and sampling refused ones. */
#ifndef ANYPORT_REPORT_H
#define ANYPORT_REPORT_H

#include "packet.h"
#include "shared.h"

/*
 * A twin, the copy of the program that user space asks what it would do, reports every packet it judges. In the program
 * that is attached this is a constant 0, and the verifier removes what hangs on it.
 */
const volatile bool report_all;

static __always_inline void count(__u32 id, enum outcome outcome)
{
	struct counter *c = bpf_map_lookup_elem(&counters, &id);

	if (c && outcome < OUTCOMES)
		c->n[outcome]++; /* per CPU, and lookups run with softirqs off */
}

/* sample_due reports whether a sample may be taken at now, and if so puts off the next one, whichever CPU takes it. */
static __always_inline bool sample_due(__u64 now)
{
	enum sampling_key key = SAMPLING_INTERVAL;
	__u64 *interval = bpf_map_lookup_elem(&sampling, &key);
	volatile __u64 *next;
	__u64 due;

	key = SAMPLING_NEXT;
	next = bpf_map_lookup_elem(&sampling, &key);
	if (!interval || !*interval || !next)
		return false;
	due = *next;
	return now >= due && __sync_val_compare_and_swap(next, due, now + *interval) == due;
}

static __always_inline void lose_sample(void)
{
	enum sampling_key key = SAMPLING_LOST;
	__u64 *lost = bpf_map_lookup_elem(&sampling, &key);

	if (lost)
		__sync_fetch_and_add(lost, 1);
}

static __always_inline void take_sample(struct bpf_sk_lookup *ctx, struct sample *s)
{
	struct address src = source(ctx), dst = destination(ctx);

	__builtin_memcpy(s->src, src.ip, sizeof(s->src));
	__builtin_memcpy(s->dst, dst.ip, sizeof(s->dst));
	s->src_port = source_port(ctx);
	s->dst_port = destination_port(ctx);
	s->family = CTX(ctx, family);
	s->protocol = CTX(ctx, protocol);
	s->pad = 0;
}

/* What became of a packet. */
struct judgement {
	__u32 counter;
	enum outcome outcome;
	enum outcome cause; /* why the rule's own service did not get it, or equal to outcome */
	__u32 service;      /* the one that has the packet, or NO_SERVICE */
};

/* conclude counts a packet, and samples it if it was refused and a sample is due. It returns the program's verdict. */
static __always_inline int conclude(struct bpf_sk_lookup *ctx, struct judgement j)
{
	int verdict = j.outcome == OUTCOME_REFUSED ? SK_DROP : SK_PASS;
	struct sample *s;
	__u64 now;

	count(j.counter, j.outcome);
	if (!report_all && verdict == SK_PASS)
		return verdict;
	now = bpf_ktime_get_ns();
	if (!report_all && !sample_due(now))
		return verdict;
	s = bpf_ringbuf_reserve(&samples, sizeof(*s), 0);
	if (!s) {
		lose_sample();
		return verdict;
	}
	take_sample(ctx, s);
	s->time = now;
	s->counter = j.counter;
	s->outcome = j.outcome;
	s->cause = j.cause;
	s->service = j.service;
	bpf_ringbuf_submit(s, 0);
	return verdict;
}

#endif
