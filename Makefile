# SPDX-License-Identifier: GPL-2.0-or-later
# vpnleash: `make help` lists the targets. Every product is under build/; V=1 shows the commands.

# one place for it and the date of its release
VERSION	      := $(shell sed -n 's/^\#\# \([0-9][^ ]*\) .*/\1/p' CHANGELOG.md | head -n 1)
PREFIX	      ?= /usr/local
SBINDIR	      ?= $(PREFIX)/sbin
MANDIR	      ?= $(PREFIX)/share/man
SYSTEMDDIR    ?= $(PREFIX)/lib/systemd/system
LIBDIR	      ?= $(PREFIX)/lib/vpnleash
HOOKSDIR      ?= $(LIBDIR)/hooks
DOCDIR	      ?= $(PREFIX)/share/doc/vpnleash
COMPLETIONDIR ?= $(PREFIX)/share/bash-completion/completions
SYSUSERSDIR   ?= $(PREFIX)/lib/sysusers.d
B	      := build

CC	      ?= gcc
BUILD_CC      ?= gcc
CLANG	      ?= clang
BPFTOOL	      ?= $(firstword $(wildcard /usr/sbin/bpftool /usr/bin/bpftool) bpftool)
PKG_CONFIG    ?= pkg-config
LIBS	      := libbpf libelf zlib libsystemd libmnl jansson libcap-ng

CFLAGS	      ?= -O2 -g
override CFLAGS += -std=gnu17 -D_GNU_SOURCE -Wall -Wextra -Wno-unused-parameter -Werror -fstack-protector-strong \
		 -Iuser -Iinclude -I. -I$(B) -MMD -MP -DVPNLEASH_VERSION='"$(VERSION)"'
LDLIBS	      := $(shell $(PKG_CONFIG) --libs $(LIBS) 2>/dev/null) -lpthread
ifeq ($(SANITIZE),1)
B	      := build/sanitize
override CFLAGS += -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
endif
# Counters that are a mapping of a file hold up to the last instruction, however a process ends, and
# need neither a system call nor a right when it does.
ifeq ($(COVERAGE),1)
B	      := build/coverage
CC	      := $(CLANG)
override CFLAGS += -O1 -DCOVERAGE -Wno-unused-command-line-argument -fcoverage-mapping -fprofile-update=atomic -mllvm -runtime-counter-relocation \
		 -fprofile-instr-generate=$(abspath $(B))/profile/%m%c.profraw
endif
# whom it is for; CC=aarch64-linux-gnu-gcc PKG_CONFIG=aarch64-linux-gnu-pkg-config builds for another
MACHINE	       = $(firstword $(subst -, ,$(shell $(CC) -dumpmachine)))
# x86_64-linux-gnu: where <asm/types.h> is for a compiler whose target is bpf
BPFFLAGS      := -g -O2 -target bpf -mcpu=v3 -Wall -Wextra -Werror -Iinclude -Ibpf -Ivmlinux \
		 -I/usr/include/$(shell uname -m)-linux-gnu -MMD -MP

SRC	      := $(wildcard user/*.c user/*/*.c)
OBJ	      := $(SRC:%.c=$(B)/%.o)
LIB	      := $(filter-out $(B)/user/main.o,$(OBJ))
UNIT	      := $(patsubst tests/unit/%.c,$(B)/tests/unit/%,$(wildcard tests/unit/test_*.c))
BPFTEST	      := $(patsubst tests/bpf/%.c,$(B)/tests/bpf/%,$(wildcard tests/bpf/test_*.c))
BENCH	      := $(patsubst %.c,$(B)/%.o,$(filter-out %.bpf.c,$(wildcard tests/bench/*.c)))
# what the fuzz targets parse with; one that includes a file itself takes that one's place
FUZZ_LIB      := $(patsubst %.c,$(B)/fuzz/%.o,$(wildcard user/base/*.c user/config/*.c) $(addprefix user/,daemon/schema.c \
		 engine/docker_record.c engine/docker_remake.c report/control.c prober/wire.c watch/process.c watch/underlay.c watch/wireguard.c))
FUZZERS	      := $(patsubst tests/fuzz/%.c,$(B)/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZFLAGS     := -O1 -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
TOOLSRC	      := $(wildcard tests/attack/*.c tests/tools/*.c)
TOOLS	      := $(B)/tests/prove $(patsubst %.c,$(B)/%,$(filter-out %.bpf.c,$(TOOLSRC))) \
		 $(patsubst %.c,$(B)/%.o,$(filter %.bpf.c,$(TOOLSRC)))

ifneq ($(V),1)
Q	      := @
msg	       = @printf '  %-7s %s\n' $(1) $(2)
endif

.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: FORCE all deps check check-vm check-systemd check-mutants check-slow coverage fuzz fuzzers tests sanitized demo bench deb image install uninstall clean format lint help

all: $(B)/vpnleash ## build/vpnleash: BPF objects, linked, in one binary (the default)

$(B)/%.bpf.o: bpf/%.bpf.c
	$(call msg,BPF,$@)
	$(Q)mkdir -p $(@D) && $(CLANG) $(BPFFLAGS) -c $< -o $@

# gate.bpf.o first: the maps are defined in it, and libbpf 1.1 mixes them up else.
$(B)/linked.bpf.o: $(B)/gate.bpf.o $(filter-out $(B)/gate.bpf.o,$(patsubst bpf/%.c,$(B)/%.o,$(wildcard bpf/*.bpf.c)))
	$(call msg,LINK,$@)
	$(Q)$(BPFTOOL) gen object $@ $^

$(B)/vpnleash.skel.h: $(B)/linked.bpf.o
	$(call msg,SKEL,$@)
	$(Q)$(BPFTOOL) gen skeleton $< name vpnleash_bpf > $@

# which object a pinned program is of
$(B)/object_id.h: $(B)/linked.bpf.o
	$(Q)printf '#define OBJECT_ID "%.32s"\n' "$$(sha256sum < $<)" > $@

# a file as a string: $(call embed,NAME,FILE)
embed	       = { echo 'static const char $(1)[] ='; \
		 sed 's/\\/\\\\/g; s/"/\\"/g; s/^/\t"/; s/$$/\\n"/' $(2); echo ';'; }

$(B)/lab.sh.h: user/lab.sh
	$(call msg,EMBED,$@)
	$(Q)mkdir -p $(@D) && $(call embed,lab_sh,$<) > $@

$(B)/page.h: $(addprefix user/listen/page.,html css js)
	$(call msg,EMBED,$@)
	$(Q)mkdir -p $(@D) && { $(foreach kind,html css js,$(call embed,page_$(kind),user/listen/page.$(kind));) } > $@

# made anew if PREFIX is another than it was
$(B)/paths.h: FORCE
	$(Q)mkdir -p $(@D) && echo '#define HOOKS_DIR "$(HOOKSDIR)"' | cmp -s - $@ || \
		echo '#define HOOKS_DIR "$(HOOKSDIR)"' > $@

$(B)/%_calls.h: bpf/syscalls.c
	$(call msg,SECCOMP,$@)
	$(Q)mkdir -p $(@D) && $(BUILD_CC) -std=gnu17 -D_GNU_SOURCE -O1 -Wall -Wextra -Werror $< -lseccomp -o $@.gen && \
		$@.gen $* $(MACHINE) > $@; r=$$?; rm -f $@.gen; exit $$r

$(B)/%.o: %.c | $(B)/vpnleash.skel.h $(B)/object_id.h $(B)/lab.sh.h $(B)/page.h $(B)/daemon_calls.h $(B)/prober_calls.h $(B)/identity_calls.h $(B)/paths.h
	$(call msg,CC,$@)
	$(Q)mkdir -p $(@D) && $(CC) $(CPPFLAGS) $(CFLAGS) -c $< -o $@

$(B)/user/main.o: CHANGELOG.md

$(B)/vpnleash: $(OBJ)
	$(call msg,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $^ $(LDLIBS) -o $@

$(B)/tests/prove: $(B)/tests/prove_main.o $(LIB)
	$(call msg,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $^ $(LDLIBS) -o $@

# the first and only process of containers that have nothing else
$(B)/tests/attack/first $(B)/tests/attack/beacon: LDFLAGS += -static

$(B)/tests/attack/%: $(B)/tests/attack/%.o
	$(call msg,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $^ -o $@

$(B)/tests/tools/systemd: TOOLLIBS = -lsystemd

$(B)/tests/tools/%: $(B)/tests/tools/%.o
	$(call msg,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $^ $(TOOLLIBS) -o $@

$(B)/tests/%.bpf.o: tests/%.bpf.c
	$(call msg,BPF,$@)
	$(Q)mkdir -p $(@D) && $(CLANG) $(BPFFLAGS) -c $< -o $@

$(B)/tests/bench/peers.skel.h: $(B)/tests/bench/peers.bpf.o
	$(call msg,SKEL,$@)
	$(Q)$(BPFTOOL) gen skeleton $< name peers_bpf > $@

$(BENCH): $(B)/tests/bench/peers.skel.h

$(B)/tests/bench/bench: $(BENCH) $(LIB)
	$(call msg,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $^ $(LDLIBS) -o $@

$(B)/tests/unit/%: $(B)/tests/unit/%.o $(LIB)
	$(call msg,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $^ $(LDLIBS) -lcmocka -o $@

$(B)/tests/bpf/%: $(B)/tests/bpf/%.o $(LIB)
	$(call msg,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $^ $(LDLIBS) -lcmocka -o $@

$(B)/fuzz/%.o: %.c | $(B)/vpnleash.skel.h $(B)/object_id.h $(B)/daemon_calls.h $(B)/identity_calls.h $(B)/paths.h
	$(call msg,FUZZ,$@)
	$(Q)mkdir -p $(@D) && $(CLANG) $(filter-out -O2,$(CFLAGS)) $(FUZZFLAGS) -c $< -o $@

$(B)/fuzz/lib.a: $(FUZZ_LIB)
	$(Q)rm -f $@ && ar rcs $@ $^

$(B)/fuzz/fuzz_%: $(B)/fuzz/tests/fuzz/fuzz_%.o $(B)/fuzz/lib.a
	$(call msg,LD,$@)
	$(Q)$(CLANG) $(FUZZFLAGS) -fsanitize=fuzzer $^ $(LDLIBS) -ldl -o $@

# dist/deps says what is missing before it installs that. A machine that has all is not touched.
deps: ## install what building, demo and tests need of the distribution's packages (Debian 12, 13)
	$(Q)dist/deps

demo: ## the whole story on this machine, in a minute, in namespaces of its own
	$(Q)dist/deps demo && $(MAKE) --no-print-directory all && $(B)/vpnleash demo

fuzz: deps ## what strangers write, by libFuzzer: SECONDS=20 for each target; T=docker chooses
	$(Q)$(MAKE) --no-print-directory fuzzers && BUILD=$(B) tests/fuzz/run '$(or $(SECONDS),20)' '$(T)'

K	      ?= 5.10 6.1

check: deps ## every test: unit, bpf, leak, e2e, and the kernels K='5.10 6.1' in virtual machines
	$(Q)tests/check $(K)

check-%: deps ## one group alone: check-unit check-bpf check-leak check-e2e; T=pattern chooses
	$(Q)$(MAKE) --no-print-directory tests && tests/run $*

check-vm: deps ## the gate's cases on other kernels: K='5.10 6.1 6.12 sid'
	$(Q)$(MAKE) --no-print-directory tests && tests/vm/check $(K)

check-systemd: deps ## systemd's units, real engines, the package, in Debian K='12 13'; T=pattern chooses
	$(Q)$(MAKE) --no-print-directory tests deb && T='$(T)' tests/vm/systemd.d/run $(filter 12 13,$(K))

bench: tests $(B)/tests/bench/bench ## ratios to peers, latencies, sizes; T='packet udp' chooses (docs/performance.md)
	$(Q)BUILD=$(B) tests/bench/run $(T)

tests: all $(TOOLS) $(UNIT) $(BPFTEST) # build what the cases run

fuzzers: $(FUZZERS) # build them

# Unit tests under ASan and UBSan, as one TAP stream through the same runner.
sanitized: $(UNIT)
	$(Q)BUILD=$(B) tests/run unit

deb: ## build/deb/vpnleash_VERSION-1_ARCH.deb, for this Debian and newer ones; ARCH=arm64 cross-builds
	$(Q)dist/deps deb $(ARCH) && HOST_ARCH=$(ARCH) dist/package '$(VERSION)'

image: ## the package of `make deb` as an image, vpnleash:VERSION and vpnleash; ENGINE=podman, BASE=debian:12-slim
	$(Q)$(or $(ENGINE),docker) build -f dist/compose/Dockerfile --build-arg VERSION=$(VERSION) \
		$(if $(BASE),--build-arg BASE=$(BASE)) -t vpnleash:$(VERSION) -t vpnleash .

# Nothing goes to /etc, and nothing is enabled.
install: all ## PREFIX=/usr/local, DESTDIR; restarts nothing
	install -D -m 755 -t $(DESTDIR)$(SBINDIR) $(B)/vpnleash
	for page in dist/man/*; do sed 's|/usr/local/lib/vpnleash|$(LIBDIR)|; s|/usr/local/share/doc/vpnleash|$(DOCDIR)|' $$page | \
		install -D -m 644 /dev/stdin $(DESTDIR)$(MANDIR)/man$${page##*.}/$${page##*/} || exit; done
	install -D -m 644 -t $(DESTDIR)$(COMPLETIONDIR) dist/completion/vpnleash
	install -D -m 644 -t $(DESTDIR)$(SYSUSERSDIR) dist/sysusers/vpnleash.conf
	for unit in dist/systemd/*; do sed 's|@SBINDIR@|$(SBINDIR)|' $$unit | \
		install -D -m 644 /dev/stdin $(DESTDIR)$(SYSTEMDDIR)/$${unit##*/} || exit; done
	install -D -m 755 -t $(DESTDIR)$(HOOKSDIR) dist/hooks/*
	sed 's|@SBINDIR@|$(SBINDIR)|' dist/take-off | install -D -m 755 /dev/stdin $(DESTDIR)$(LIBDIR)/take-off
	install -D -m 644 -t $(DESTDIR)$(DOCDIR) CHANGELOG.md README.md SECURITY.md
	install -D -m 644 -t $(DESTDIR)$(DOCDIR)/docs docs/*.md
	install -D -m 644 -t $(DESTDIR)$(DOCDIR)/docs/schema docs/schema/*.json
	install -D -m 755 -t $(DESTDIR)$(DOCDIR)/examples dist/examples/*
	install -D -m 644 -t $(DESTDIR)$(DOCDIR)/examples dist/vpnleash.conf dist/prometheus/* dist/grafana/*

uninstall: ## remove what install put there, and no more; see docs/taking-it-off.md first
	$(Q)rm -rf $(B)/installed && $(MAKE) -s install DESTDIR=$(abspath $(B)/installed) && cd $(B)/installed && \
		find . -type f | while read -r file; do rm -f "$(DESTDIR)/$$file"; done && \
		find . -depth -type d -path '*/vpnleash*' | while read -r dir; do \
			rmdir --ignore-fail-on-non-empty "$(DESTDIR)/$$dir"; done

CSRC	      := $(wildcard bpf/*.[ch] vmlinux/*.h include/vpnleash/*.h user/*.[ch] user/*/*.[ch] tests/*.c \
		 tests/*/*.[ch])

format: ## clang-format in place
	clang-format -i $(CSRC)

SCRIPTS	      := .ci/run dist/deps dist/package dist/take-off dist/completion/vpnleash $(wildcard dist/debian/*.p*) $(wildcard dist/hooks/* dist/examples/*) dist/compose/validate.sh tests/mutants/run tests/bench/run tests/bench/throughput user/lab.sh tests/run tests/check tests/fuzz/run tests/lib.sh tests/lib/*.sh $(filter-out %.d,$(wildcard tests/vm/*)) $(wildcard tests/vm/systemd.d/* \
		 tests/*/case_* tests/e2e/docker/*.sh tests/e2e/docker/fetch)

lint: tests ## clang-format, clang-tidy, shellcheck, the manual's own warnings, who calls whom
	clang-format --dry-run -Werror $(CSRC)
	shellcheck -x $(filter-out %.yml,$(SCRIPTS))
	! grep -nE '^[[:space:]]*sleep [^#]*$$' tests/*/case_* # which waits for what?
	clang-tidy --quiet $(SRC) -- $(filter-out -MMD -MP -Werror,$(CFLAGS))
	@for page in dist/man/*; do LC_ALL=C.UTF-8 man --warnings -l $$page 2>&1 >/dev/null | \
		{ ! grep .; } || exit; done
	tests/layers.py . $(B)

check-mutants: deps ## each one-line mutant must make its named case fail
	$(Q)tests/mutants/run

# one program runs as other users as well
coverage: deps ## which lines and branches of user/ the tests run, by room: CASES='unit bpf'; FILES=user/core/tunnel.c
	$(Q)$(MAKE) --no-print-directory COVERAGE=1 tests && cd build/coverage && rm -rf profile && mkdir -m 777 profile && \
		./vpnleash --version >/dev/null && chmod 666 profile/*
	$(Q)r=0; BUILD=build/coverage tests/run $(CASES) || r=1; tests/coverage build/coverage $(FILES) && exit $$r

check-slow: deps ## the long forms: soaks, every case on every kernel, an hour of fuzzing each, the mutants (hours)
	$(Q)$(MAKE) --no-print-directory tests deb && \
		SOAK=600 TIMES=100 tests/run leak/T53_vpn_lives leak/bootstrap leak/T45_hotplug && TMO=10800 tests/vm/check 5.10 6.1 6.12 sid -- \
		env BOUND_FACTOR=6 tests/run bpf leak && \
		TIMES=1000 tests/run leak/T84_thousand_dead_cgroups && FULL=1 tests/run leak/T57_every_step && \
		STEPS=100000000 tests/run unit/test_model && $(MAKE) --no-print-directory SANITIZE=1 all && \
		VPNLEASH=build/sanitize/vpnleash ASAN_OPTIONS=detect_leaks=0 tests/run leak/guard_story e2e/containers_acceptance && \
		$(MAKE) --no-print-directory coverage && \
		MINUTES=30 tests/run slow/false_alarms && \
		TMO=9000 tests/vm/check 6.1 -- env BOUND_FACTOR=6 MINUTES=30 PART='hogs memory' tests/run slow/false_alarms && \
		TIMES=100 FULL=1 ALL=1 tests/run e2e/containers_start e2e/containers_many e2e/containers_events \
		e2e/containers_validate e2e/containers_first_evening && \
		SLOW=1 SIEGE=30 CLIENTS=4000 BOUND_FACTOR=3 tests/run e2e/listen e2e/listen_seen e2e/containers_image && \
		TIMES=10 tests/vm/systemd.d/run && TMO=3600 tests/vm/arm64 && $(MAKE) --no-print-directory fuzz SECONDS=3600 && tests/mutants/run

help: ## this list
	@sed -n 's/^\([a-z%-]*\):.*## /\1\t/p' Makefile | expand -t 14

clean: ## remove build/ (never pins, cgroups or namespaces)
	rm -rf build

-include $(OBJ:.o=.d) $(wildcard $(B)/*.bpf.d $(B)/tests/*.d $(B)/tests/*/*.d $(B)/fuzz/*/*/*.d)
