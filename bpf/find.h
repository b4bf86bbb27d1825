/* SPDX-License-Identifier: BSD-3-Clause */
/* How the program finds the flow of a packet. */
#ifndef ANYPORT_FIND_H
#define ANYPORT_FIND_H

#include "flows.h"

static __always_inline bool same(const struct ip_address *a, const struct ip_address *b)
{
	return a->word[0] == b->word[0] && a->word[1] == b->word[1] && a->word[2] == b->word[2] &&
	       a->word[3] == b->word[3];
}

static __always_inline bool is_of(const struct half *h, const struct tuple *t)
{
	return h->generation && h->from.source_port == t->source_port && h->from.destination_port == t->destination_port &&
	       same(&h->from.source, &t->source) && same(&h->from.destination, &t->destination);
}

/* How many buckets the index has, less 1. */
const volatile __u32 last_bucket;

/* mix takes one more word into a hash; the one after it spreads what this one has left in the high bits. The constant is
 * 2^64 over the golden ratio, as in include/linux/hash.h. */
static __always_inline __u64 mix(__u64 hash, __u32 high, __u32 low)
{
	hash = (hash ^ ((__u64)high << 32 | low)) * 0x9e3779b97f4a7c15;
	return hash ^ hash >> 32;
}

/* hash_of is hashOf in Go. */
static __always_inline __u64 hash_of(const struct tuple *t, __u64 seed)
{
	__u64 hash = mix(seed, t->source.word[0], t->source.word[1]);

	hash = mix(hash, t->source.word[2], t->source.word[3]);
	hash = mix(hash, t->destination.word[0], t->destination.word[1]);
	hash = mix(hash, t->destination.word[2], t->destination.word[3]);
	hash = mix(hash, t->source_port, t->destination_port);
	return mix(hash, 0, 0);
}

/* find returns the flow of a packet, and puts down which half; NULL if there is none. */
static __always_inline struct flow *find(const struct tuple *t, __u64 seed, __u32 *half)
{
	__u64 hash = hash_of(t, seed);
	__u32 key = hash >> 32 & last_bucket;
	const volatile struct bucket *b = bpf_map_lookup_elem(&buckets, &key);

	if (!b)
		return NULL;
	for (int i = 0; i < BUCKET_SIZE; i++) {
		__u32 place = b->place[i], slot;
		struct flow *f;

		if (!place)
			break;
		if ((place ^ (__u32)hash << PLACE_BITS) >> PLACE_BITS)
			continue;
		*half = (place & ((1 << PLACE_BITS) - 1)) - 1;
		slot = *half / 2;
		f = bpf_map_lookup_elem(&flows, &slot);
		if (f && is_of(*half % 2 ? &f->out : &f->in, t))
			return f;
	}
	return NULL;
}

#endif
