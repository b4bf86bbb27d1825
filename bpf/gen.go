// Package bpf holds anyport's kernel programs and their Go mirror.
//
// steer.c is the sk_lookup program; tables.h are the maps of one generation of rules, shared.h those that outlive
// generations. offload.c is the tcx program that forwards UDP flows; flows.h are its maps. transmit.c is the
// tc program that sends trains of UDP datagrams from any address and port. The objects are compiled by clang and
// committed, so that building anyport needs no clang; `make generate`, which names the compiler, makes them anew, byte
// for byte the same in any directory. Packages steering and proxy/offload load them.
package bpf

//go:generate -command compile go tool bpf2go -cflags "-mcpu=v3 -nostdinc -Iinclude -Wall -Wextra -Werror"
//go:generate compile -type list -type outcome -type verdict -type schema Steer steer.c
//go:generate compile -type ip_address -type outcome -type schema -type switched -type tuple -type half Offload offload.c
//go:generate compile -type train_outcome Transmit transmit.c
