//go:build ignore

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * anyport_offload forwards the UDP packets of flows that user space has put into its maps, both ways, as a router that
 * changes addresses would. The kernel runs it for what a device receives, before netfilter and routing (tcx, Linux 6.6).
 *
 *	client -> original destination   becomes   NAT address and port -> upstream
 *	upstream -> NAT address and port   becomes   original destination -> client
 *
 * Whatever it does not forward goes on to the next program and up to the sockets, unchanged: everything that can keep a
 * packet here is looked at before its first byte is written. The route is asked for each packet as the host itself would
 * ask (an ingress lookup from lo is an output lookup), so that it is the one that the sockets' datagrams take, and route,
 * device, gateway and MTU changes count at once; the neighbour is the kernel's business (bpf_redirect_neigh), so that it
 * is probed and resolved as for any packet. TTL and hop limit are decremented, because a packet that is sent on by the
 * address it came with must not go round for ever.
 */
#include "frame.h"

char __license[] SEC("license") = "Dual BSD/GPL";

/* What a tcx program returns (enum tcx_action_base, Linux 6.6): the next program, if any, decides. */
enum { TCX_NEXT = -1, TCX_DROP = 2 };

enum { PACKET_HOST = 0 }; /* linux/if_packet.h: sent to the device's own address */
enum { LOOPBACK = 1 }; /* the index of lo in every network namespace (LOOPBACK_IFINDEX) */

static __always_inline void count(enum outcome outcome)
{
	__u64 *n = bpf_map_lookup_elem(&outcomes, &outcome);

	if (n)
		(*n)++; /* per CPU, and ingress runs with softirqs off */
}

static __always_inline int leave(enum outcome why)
{
	count(why);
	return TCX_NEXT;
}

/* What parse returns besides an outcome: not UDP, or nothing that can be parsed. */
enum { NOT_OURS = OUTCOMES };

/* fits reports whether a frame has the size that its packet needs. */
static __always_inline bool fits(struct __sk_buff *skb, __u32 needed)
{
	return skb->len == needed || (skb->len == ETH_SHORTEST && needed < ETH_SHORTEST);
}

static __always_inline int parse_udp(struct __sk_buff *skb, const struct udp *udp, struct packet *p)
{
	__u32 ip_header = ip_header_size(p), size = bpf_ntohs(udp->length);

	p->l4 = ETH_HEADER + ip_header;
	p->payload = size - sizeof(*udp);
	p->from_to.client_port = udp->source;
	p->from_to.original_port = udp->destination;
	if (size < sizeof(*udp) || p->length != ip_header + size || !fits(skb, ETH_HEADER + p->length))
		return OUTCOME_LENGTH;
	return OUTCOME_IN;
}

static __always_inline int parse_ipv4(struct __sk_buff *skb, struct packet *p)
{
	void *frame = linear(skb, ETH_HEADER + sizeof(struct ipv4) + sizeof(struct udp));
	const struct ipv4 *ip = frame + ETH_HEADER;

	if (!frame || ip->protocol != IPPROTO_UDP)
		return NOT_OURS;
	if (ip->fragment & bpf_htons(IPV4_FRAGMENT))
		return OUTCOME_FRAGMENT;
	if (ip->version_length != IPV4_PLAIN)
		return OUTCOME_OPTIONS;
	p->family = AF_INET;
	p->ttl = ip->ttl;
	p->checksum = ip->checksum;
	p->length = bpf_ntohs(ip->length);
	p->from_to.client = mapped(ip->source);
	p->from_to.original = mapped(ip->destination);
	return parse_udp(skb, (void *)(ip + 1), p);
}

static __always_inline int parse_ipv6(struct __sk_buff *skb, struct packet *p)
{
	void *frame = linear(skb, ETH_HEADER + sizeof(struct ipv6) + sizeof(struct udp));
	const struct ipv6 *ip = frame + ETH_HEADER;

	if (!frame || ip->next != IPPROTO_UDP)
		return NOT_OURS;
	p->family = AF_INET6;
	p->ttl = ip->hop_limit;
	p->checksum = 0;
	p->length = sizeof(*ip) + bpf_ntohs(ip->length);
	p->from_to.client = ip->source;
	p->from_to.original = ip->destination;
	return parse_udp(skb, (void *)(ip + 1), p);
}

/*
 * parse reads a packet that is meant for this host. On the device below a VLAN, its packets are not: they come again on
 * the VLAN's own. lo brings those of the host's own clients, which are the sockets' business.
 */
static __always_inline int parse(struct __sk_buff *skb, struct packet *p)
{
	if (skb->pkt_type != PACKET_HOST || skb->vlan_present || skb->ifindex == LOOPBACK)
		return NOT_OURS;
	if (skb->protocol == bpf_htons(ETH_P_IP))
		return parse_ipv4(skb, p);
	if (skb->protocol == bpf_htons(ETH_P_IPV6))
		return parse_ipv6(skb, p);
	return NOT_OURS;
}

static __always_inline bool same(const struct ip_address *a, const struct ip_address *b)
{
	return a->word[0] == b->word[0] && a->word[1] == b->word[1] && a->word[2] == b->word[2] &&
	       a->word[3] == b->word[3];
}

/* is_from_client reports whether a packet is the flow's, on its way in. It is asked though the key has led here: the
 * slot may be another flow's by now. */
static __always_inline bool is_from_client(const struct flow *f, const struct client_key *k)
{
	return f->generation && f->client_port == k->client_port && f->original_port == k->original_port &&
	       same(&f->client, &k->client) && same(&f->original, &k->original);
}

static __always_inline bool is_from_upstream(const struct flow *f, const struct client_key *k)
{
	return f->generation && f->upstream_port == k->client_port && f->nat_port == k->original_port &&
	       same(&f->upstream, &k->client) && same(&f->nat, &k->original);
}

/* find returns the flow of a packet, and its direction or why the packet is left; NULL and NOT_OURS if it has none. */
static __always_inline struct flow *find(const struct packet *p, enum outcome *how)
{
	struct nat_key nat = {.nat = p->from_to.original, .port = p->from_to.original_port};
	__u32 *slot = bpf_map_lookup_elem(&by_nat, &nat);
	struct flow *f;

	*how = NOT_OURS;
	if (slot) {
		f = bpf_map_lookup_elem(&flows, slot);
		*how = f && is_from_upstream(f, &p->from_to) ? OUTCOME_OUT : OUTCOME_STRAY;
		return f;
	}
	slot = bpf_map_lookup_elem(&by_client, &p->from_to);
	if (!slot)
		return NULL;
	f = bpf_map_lookup_elem(&flows, slot);
	if (f && is_from_client(f, &p->from_to))
		*how = OUTCOME_IN;
	return f;
}

static __always_inline bool is_on(void)
{
	__u32 key = 0;
	const struct meta *m = bpf_map_lookup_elem(&meta, &key);

	return m && m->on;
}

static __always_inline bool is_idle(const struct flow *f, __u32 now)
{
	return f->idle && (__s32)(now - f->seen_in) > (__s32)f->idle && (__s32)(now - f->seen_out) > (__s32)f->idle;
}

/* A packet's next hop, and the addresses that it gets there. */
struct way {
	struct client_key from_to;
	__u32 device;
	struct bpf_redir_neigh next;
};

static __always_inline void fill_addresses(struct way *w, const struct flow *f, bool in)
{
	w->from_to.client = in ? f->nat : f->original;
	w->from_to.original = in ? f->upstream : f->client;
	w->from_to.client_port = in ? f->nat_port : f->original_port;
	w->from_to.original_port = in ? f->upstream_port : f->client_port;
}

/*
 * route finds a packet's way. It returns 0, or why the packet is left. The kernel asks for forwarding on the device that
 * the packet would have come from, even of lo (bpf_ipv4_fib_lookup, net/core/filter.c, Linux 6.18).
 */
static __always_inline int route(struct __sk_buff *skb, const struct packet *p, struct way *w)
{
	struct bpf_fib_lookup fib = {
		.family = p->family,
		.l4_protocol = IPPROTO_UDP,
		.sport = w->from_to.client_port,
		.dport = w->from_to.original_port,
		.tot_len = segment(skb, p),
		.ifindex = LOOPBACK,
	};

	if (p->family == AF_INET) {
		fib.ipv4_src = w->from_to.client.word[3];
		fib.ipv4_dst = w->from_to.original.word[3];
	} else {
		__builtin_memcpy(fib.ipv6_src, &w->from_to.client, sizeof(fib.ipv6_src));
		__builtin_memcpy(fib.ipv6_dst, &w->from_to.original, sizeof(fib.ipv6_dst));
	}
	switch (bpf_fib_lookup(skb, &fib, sizeof(fib), BPF_FIB_LOOKUP_SKIP_NEIGH)) {
	case BPF_FIB_LKUP_RET_SUCCESS:
		break;
	case BPF_FIB_LKUP_RET_FRAG_NEEDED:
		return OUTCOME_TOO_BIG;
	case BPF_FIB_LKUP_RET_FWD_DISABLED:
		return OUTCOME_FORWARDING;
	default: /* local, unreachable, or by an encapsulation that a redirect would miss */
		return OUTCOME_NO_ROUTE;
	}
	w->device = fib.ifindex;
	w->next.nh_family = fib.family;
	__builtin_memcpy(w->next.ipv6_nh, fib.ipv6_dst, sizeof(w->next.ipv6_nh));
	return 0;
}

/* The bytes of an IPv4 header from the TTL on, and the ports: all that changes but the UDP checksum. */
struct ipv4_change {
	__u8 ttl;
	__u8 protocol;
	__u16 checksum;
	__be32 source;
	__be32 destination;
	__be16 ports[2];
};

/* The same of IPv6, from the payload's length on. */
struct ipv6_change {
	__be16 length;
	__u8 next;
	__u8 hop_limit;
	struct ip_address source;
	struct ip_address destination;
	__be16 ports[2];
} __attribute__((packed, aligned(4)));

/* lower_ttl returns the checksum of an IPv4 header whose addresses change by delta and whose TTL by -1 (RFC 1624). */
static __always_inline __u16 lower_ttl(__u16 checksum, __u32 delta)
{
	__u32 sum = (__u16)~checksum + (delta >> 16) + (delta & 0xffff) + (__u16)~bpf_htons(0x0100);

	sum = (sum >> 16) + (sum & 0xffff);
	return ~((sum >> 16) + sum);
}

static __always_inline long write_ipv4(struct __sk_buff *skb, const struct packet *p, const struct way *w, __u32 delta)
{
	struct ipv4_change c = {
		.ttl = p->ttl - 1,
		.protocol = IPPROTO_UDP,
		.checksum = lower_ttl(p->checksum, delta),
		.source = w->from_to.client.word[3],
		.destination = w->from_to.original.word[3],
		.ports = {w->from_to.client_port, w->from_to.original_port},
	};

	return bpf_skb_store_bytes(skb, ETH_HEADER + offsetof(struct ipv4, ttl), &c, sizeof(c), 0);
}

static __always_inline long write_ipv6(struct __sk_buff *skb, const struct packet *p, const struct way *w)
{
	struct ipv6_change c = {
		.length = bpf_htons(p->length - sizeof(struct ipv6)),
		.next = IPPROTO_UDP,
		.hop_limit = p->ttl - 1,
		.source = w->from_to.client,
		.destination = w->from_to.original,
		.ports = {w->from_to.client_port, w->from_to.original_port},
	};

	return bpf_skb_store_bytes(skb, ETH_HEADER + offsetof(struct ipv6, length), &c, sizeof(c), 0);
}

/* mend changes the UDP checksum where there is one: by the addresses, as in its pseudo-header, and by the ports. Where the
 * device is to fill it in, only the pseudo-header's part is there, and the helper knows. */
static __always_inline long mend(struct __sk_buff *skb, const struct packet *p, const struct way *w, __u32 delta)
{
	__u32 at = p->l4 + offsetof(struct udp, checksum);
	__u32 ports = w->from_to.client_port + w->from_to.original_port + (__u16)~p->from_to.client_port +
		      (__u16)~p->from_to.original_port;
	long err = bpf_l4_csum_replace(skb, at, 0, ports, BPF_F_MARK_MANGLED_0);

	if (err)
		return err;
	return bpf_l4_csum_replace(skb, at, 0, delta, BPF_F_PSEUDO_HDR | BPF_F_MARK_MANGLED_0);
}

/*
 * mend_sum6 mends what a device has summed up (CHECKSUM_COMPLETE): it takes back what the helper has done to it for the
 * addresses, which is right for IPv4 alone, whose header has a checksum of its own (BPF_F_IPV6 would keep the helper from
 * it, but kernels before 6.16 refuse that flag), and adds the hop limit, which no checksum makes up for.
 */
static __always_inline void mend_sum6(struct __sk_buff *skb, __u32 delta)
{
	bpf_csum_update(skb, delta);
	bpf_csum_update(skb, ~(__u32)bpf_htons(1));
}

/* rewrite gives a packet its new addresses. It returns 0, or what has become of the packet. */
static __always_inline int rewrite(struct __sk_buff *skb, const struct packet *p, const struct way *w, __u32 delta)
{
	long err = p->family == AF_INET ? write_ipv4(skb, p, w, delta) : write_ipv6(skb, p, w);

	if (err)
		return OUTCOME_MEMORY;
	if (mend(skb, p, w, delta))
		return OUTCOME_LOST;
	if (p->family == AF_INET6)
		mend_sum6(skb, delta);
	return 0;
}

static __always_inline void account(struct __sk_buff *skb, const struct packet *p, struct flow *f, bool in, __u32 now)
{
	__u32 packets = skb->gso_segs ? skb->gso_segs : 1;

	if (in) {
		__sync_fetch_and_add(&f->packets_in, packets);
		__sync_fetch_and_add(&f->bytes_in, p->payload);
		f->seen_in = now;
	} else {
		__sync_fetch_and_add(&f->packets_out, packets);
		__sync_fetch_and_add(&f->bytes_out, p->payload);
		f->seen_out = now;
	}
}

SEC("tcx/ingress")
int anyport_offload(struct __sk_buff *skb)
{
	struct packet p = {};
	struct way w = {};
	struct flow *f;
	enum outcome how;
	__u32 now, delta;
	bool in;
	int why = parse(skb, &p);

	if (why == NOT_OURS)
		return TCX_NEXT;
	if (why != OUTCOME_IN)
		return leave(why);
	f = find(&p, &how);
	if (!f || how == NOT_OURS) /* Not a flow that is forwarded here. */
		return TCX_NEXT;
	if (!is_on())
		return leave(OUTCOME_OFF);
	if (how == OUTCOME_STRAY)
		return leave(OUTCOME_STRAY);
	now = bpf_ktime_get_coarse_ns() >> TIME_SHIFT;
	if (is_idle(f, now))
		return leave(OUTCOME_IDLE);
	if (p.ttl <= 1)
		return leave(OUTCOME_TTL);
	in = how == OUTCOME_IN;
	fill_addresses(&w, f, in);
	why = route(skb, &p, &w);
	if (why)
		return leave(why);
	delta = in ? f->delta : ~f->delta;
	why = rewrite(skb, &p, &w, delta);
	if (why == OUTCOME_MEMORY)
		return leave(OUTCOME_MEMORY);
	if (why) {
		count(OUTCOME_LOST);
		return TCX_DROP;
	}
	account(skb, &p, f, in, now);
	count(how);
	return bpf_redirect_neigh(w.device, &w.next, sizeof(w.next), 0);
}
