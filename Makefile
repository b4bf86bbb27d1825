# Targets, by purpose: build run test bench generate check lint fmt info race install.

GO    ?= go
CLANG ?= clang-14
STRIP ?= llvm-strip-14
SUDO  ?= $(if $(filter 0,$(shell id -u)),,sudo)

# What "make test" and "make check" need from Debian. TOOLS are installed where they are missing; PEERS are only unpacked
# into .cache/peers, because their packages would start services.
TOOLS = clang-14 llvm-14 curl openssl dnsutils iperf3 ncat socat iptables nftables iproute2 util-linux conntrack \
        chromium wrk dnsperf
PEERS = haproxy nginx-core libnginx-mod-stream nsd knot bind9 pdns-server pdns-backend-bind unbound \
        ngtcp2-client ngtcp2-server sip-tester

PREFIX  ?= /usr/local
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)

export CGO_ENABLED = 0
GOFLAGS_BUILD = -trimpath -ldflags '-s -w -X main.version=$(VERSION)'

.PHONY: build run test race bench generate check lint fmt info install tools peers

build:
	$(GO) build $(GOFLAGS_BUILD) -o bin/ ./cmd/...

run: build
	$(SUDO) ./bin/anyport run

# The tests of rings 2 and 3 need root: everything is built as the user, and the test binaries run through $(SUDO).
AS_ROOT = $(if $(SUDO),-exec '$(SUDO) -E',)

test: tools peers build
	PEERS='$(CURDIR)/.cache/peers' ANYPORT_BIN='$(CURDIR)/bin' $(GO) test -timeout 15m $(AS_ROOT) ./...

race: export CGO_ENABLED = 1
race: tools peers
	@.ci/tools gcc libc6-dev
	$(GO) test -race -short -timeout 15m $(AS_ROOT) $(shell $(GO) list ./... | grep -v '/e2e$$')

bench: build
	$(SUDO) ./bin/anyport bench steer --quick

generate:
	BPF2GO_CC=$(CLANG) BPF2GO_STRIP=$(STRIP) $(GO) generate ./bpf

# The committed objects are what clang-14 makes of the sources here.
check: tools generate
	git diff --exit-code -- bpf
	@test -z "$$(git status --porcelain -- bpf)" || { git status --short -- bpf; exit 1; }

lint:
	@test -z "$$(gofmt -l .)" || { gofmt -l .; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	.ci/imports

fmt:
	gofmt -w .

# Instruction counts and stack use of the BPF programs, as the verifier of this kernel sees them.
info:
	$(GO) run $(AS_ROOT) bpf/info.go

tools:
	@.ci/tools $(TOOLS)

peers:
	@PEERS='$(CURDIR)/.cache/peers' e2e/peers.sh $(PEERS)

# After "make build": root needs no Go.
install:
	install -D -m 0755 bin/anyport $(DESTDIR)$(PREFIX)/sbin/anyport
	install -D -m 0755 bin/anyport-bench $(DESTDIR)$(PREFIX)/sbin/anyport-bench
	install -D -m 0644 conf/examples/complete.toml $(DESTDIR)/etc/anyport/complete.toml
	test -e $(DESTDIR)/etc/anyport/anyport.toml || \
		install -m 0644 conf/examples/minimal.toml $(DESTDIR)/etc/anyport/anyport.toml
	install -d $(DESTDIR)/etc/systemd/system
	sed 's,/usr/local,$(PREFIX),g' cmd/anyport/anyport.service >$(DESTDIR)/etc/systemd/system/anyport.service
