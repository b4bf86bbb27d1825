//go:build ignore

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * anyport_steer decides which socket gets a packet that begins something: the SYN of a TCP connection, and each UDP
 * datagram that no connected socket claims. The kernel runs it in the receiving network namespace, before it looks for
 * bound sockets (Documentation/bpf/prog_sk_lookup.rst).
 *
 *	destination address -> node -> list for the protocol -> interval of the port -> row
 *	row, source address -> action: steer to a service, refuse, or pass
 *
 * Precedence is settled by the compiler of the tables (conf/rule), so that each stage is one exact lookup.
 */
#include "packet.h"
#include "rate.h"
#include "report.h"
#include "shared.h"
#include "tables.h"

/* What bpf_sk_assign refuses for (net/core/filter.c, Linux 5.9); asm-generic/errno.h. */
enum { EPROTOTYPE = 91, ESOCKTNOSUPPORT = 94, EAFNOSUPPORT = 97 };

static __always_inline const struct node *find_node(struct bpf_sk_lookup *ctx)
{
	struct address dst = destination(ctx);

	if (is_ipv4(ctx)) {
		struct dst4_key key = {.prefixlen = 32};

		__builtin_memcpy(key.ip, dst.ip, sizeof(key.ip));
		return bpf_map_lookup_elem(&dst4, &key);
	} else {
		struct dst6_key key = {.prefixlen = 128};

		__builtin_memcpy(key.ip, dst.ip, sizeof(key.ip));
		return bpf_map_lookup_elem(&dst6, &key);
	}
}

/* 16 halvings of the 65,536 intervals that a list can have, and one to spare. */
enum { SEARCH_STEPS = 17 };

/* find_row returns the row of the last interval of the list that begins at or below port. */
static __always_inline const struct row *find_row(struct list list, __u16 port)
{
	const struct interval *in;

#pragma clang loop unroll(disable)
	for (int step = 0; step < SEARCH_STEPS && list.len > 1; step++) {
		__u32 half = list.len / 2;
		__u32 middle = list.offset + half;

		in = bpf_map_lookup_elem(&intervals, &middle);
		if (!in)
			return NULL;
		if (in->first <= port)
			list.offset = middle;
		list.len -= half;
	}
	in = bpf_map_lookup_elem(&intervals, &list.offset);
	if (!in)
		return NULL;
	return bpf_map_lookup_elem(&rows, &in->row);
}

/* find_ordinal returns the place of the packet's source in a source set; 0 is that of every source outside. */
static __always_inline __u32 find_ordinal(struct bpf_sk_lookup *ctx, __u32 set)
{
	struct address src = source(ctx);
	const __u32 *ordinal;

	if (is_ipv4(ctx)) {
		struct src4_key key = {.prefixlen = 32 + 32, .set = set};

		__builtin_memcpy(key.ip, src.ip, sizeof(key.ip));
		ordinal = bpf_map_lookup_elem(&src4, &key);
	} else {
		struct src6_key key = {.prefixlen = 32 + 128, .set = set};

		__builtin_memcpy(key.ip, src.ip, sizeof(key.ip));
		ordinal = bpf_map_lookup_elem(&src6, &key);
	}
	return ordinal ? *ordinal : 0;
}

static __always_inline const struct action *find_action(struct bpf_sk_lookup *ctx, const struct node *node)
{
	const struct row *row = find_row(is_udp(ctx) ? node->udp : node->tcp, destination_port(ctx));
	__u32 place;

	if (!row)
		return NULL;
	place = row->base;
	if (row->source_set)
		place += find_ordinal(ctx, row->source_set);
	return bpf_map_lookup_elem(&actions, &place);
}

/* try_service selects the service's socket. It returns OUTCOME_STEERED, or why it could not. */
static __always_inline enum outcome try_service(struct bpf_sk_lookup *ctx, __u32 service)
{
	__u32 slot = 2 * service + is_udp(ctx);
	struct bpf_sock *sk = bpf_map_lookup_elem(&sockets, &slot);
	long err;

	if (!sk)
		return OUTCOME_EMPTY;
	err = bpf_sk_assign(ctx, sk, 0); /* flags 0: a member of a reuseport group stands for its group */
	bpf_sk_release(sk);
	switch (err) {
	case 0:
		return OUTCOME_STEERED;
	case -EAFNOSUPPORT:
		return OUTCOME_FAMILY;
	case -EPROTOTYPE:
		return OUTCOME_PROTOCOL;
	case -ESOCKTNOSUPPORT:
		return OUTCOME_STATE;
	default:
		return OUTCOME_OTHER;
	}
}

/* steer tries the service, then its fallback. With neither it refuses: to pass would expose what else listens here. */
static __always_inline struct judgement steer(struct bpf_sk_lookup *ctx, const struct action *action)
{
	struct judgement j = {action->counter, OUTCOME_REFUSED, try_service(ctx, action->service), NO_SERVICE};
	enum outcome second;

	if (j.cause == OUTCOME_STEERED) {
		j.outcome = OUTCOME_STEERED;
		j.service = action->service;
		return j;
	}
	count(j.counter, j.cause);
	if (action->fallback == NO_SERVICE)
		return j;
	second = try_service(ctx, action->fallback);
	if (second == OUTCOME_STEERED) {
		j.outcome = OUTCOME_FALLBACK;
		j.service = action->fallback;
	} else {
		count(j.counter, second);
	}
	return j;
}

/* steer_within steers as far as the rule's rate of new connections allows. */
static __always_inline struct judgement steer_within(struct bpf_sk_lookup *ctx, const struct action *action)
{
	if (admit(ctx, action->rate, action->counter))
		return steer(ctx, action);
	count(action->counter, OUTCOME_LIMITED);
	return (struct judgement){action->counter, OUTCOME_REFUSED, OUTCOME_LIMITED, NO_SERVICE};
}

static __always_inline struct judgement judge(struct bpf_sk_lookup *ctx)
{
	const struct node *node = find_node(ctx);
	const struct action *action;

	if (!node) /* Not an address that we serve: the host's own traffic goes its normal way. */
		return (struct judgement){COUNTER_OUTSIDE, OUTCOME_PASSED, OUTCOME_PASSED, NO_SERVICE};
	action = find_action(ctx, node);
	if (!action) /* Tables that lead nowhere, which the compiler does not make: what we serve stays closed. */
		return (struct judgement){COUNTER_SEALED, OUTCOME_REFUSED, OUTCOME_REFUSED, NO_SERVICE};
	if (ctx->sk) /* A program that ran before has chosen; our refusal could not undo that, so nothing of ours does. */
		return (struct judgement){action->counter, OUTCOME_TAKEN, OUTCOME_TAKEN, NO_SERVICE};
	switch (action->verdict) {
	case VERDICT_STEER: /* The rule has a service, whose socket gets the packet, unless the source comes too often. */
		return steer_within(ctx, action);
	case VERDICT_PASS: /* The rule, or an open prefix, leaves the packet to the host's own sockets. */
		return (struct judgement){action->counter, OUTCOME_PASSED, OUTCOME_PASSED, NO_SERVICE};
	default: /* The rule, or a sealed prefix, wants no handshake: RST or ICMP port unreachable. */
		return (struct judgement){action->counter, OUTCOME_REFUSED, OUTCOME_REFUSED, NO_SERVICE};
	}
}

SEC("sk_lookup")
int anyport_steer(struct bpf_sk_lookup *ctx)
{
	return conclude(ctx, judge(ctx));
}

char __license[] SEC("license") = "Dual BSD/GPL";
