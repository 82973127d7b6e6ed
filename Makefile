# SPDX-License-Identifier: GPL-2.0-or-later
# vpnleash: `make help` lists the targets. Every product is under build/; V=1 shows the commands.

PREFIX	      ?= /usr/local
SBINDIR	      ?= $(PREFIX)/sbin
B	      := build

CC	      ?= gcc
CLANG	      ?= clang
BPFTOOL	      ?= $(firstword $(wildcard /usr/sbin/bpftool /usr/bin/bpftool) bpftool)
PKG_CONFIG    ?= pkg-config
LIBS	      := libbpf libelf zlib libsystemd libmnl jansson libcap-ng libseccomp

CFLAGS	      ?= -O2 -g
override CFLAGS += -std=gnu17 -D_GNU_SOURCE -Wall -Wextra -Werror -fstack-protector-strong \
		 -Iuser -Iinclude -I$(B) -MMD -MP
LDLIBS	      := $(shell $(PKG_CONFIG) --libs $(LIBS) 2>/dev/null) -lpthread
ifeq ($(SANITIZE),1)
B	      := build/sanitize
override CFLAGS += -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
endif
# x86_64-linux-gnu: where <asm/types.h> is for a compiler whose target is bpf
BPFFLAGS      := -g -O2 -target bpf -mcpu=v3 -Wall -Wextra -Werror -Iinclude -Ibpf \
		 -I/usr/include/$(shell uname -m)-linux-gnu -MMD -MP

SRC	      := $(wildcard user/*.c user/*/*.c)
OBJ	      := $(SRC:%.c=$(B)/%.o)
LIB	      := $(filter-out $(B)/user/main.o,$(OBJ))
UNIT	      := $(patsubst tests/unit/%.c,$(B)/tests/unit/%,$(wildcard tests/unit/test_*.c))
BPFTEST	      := $(patsubst tests/bpf/%.c,$(B)/tests/bpf/%,$(wildcard tests/bpf/test_*.c))
TOOLS	      := $(B)/tests/prove

ifneq ($(V),1)
Q	      := @
msg	       = @printf '  %-7s %s\n' $(1) $(2)
endif

.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: all deps check check-unit check-slow check-vm demo install uninstall clean format lint help

all: $(B)/vpnleash ## build/vpnleash: BPF objects, linked, in one binary (the default)

$(B)/%.bpf.o: bpf/%.bpf.c
	$(call msg,BPF,$@)
	$(Q)mkdir -p $(@D) && $(CLANG) $(BPFFLAGS) -c $< -o $@

$(B)/linked.bpf.o: $(patsubst bpf/%.c,$(B)/%.o,$(wildcard bpf/*.bpf.c))
	$(call msg,LINK,$@)
	$(Q)$(BPFTOOL) gen object $@ $^

$(B)/vpnleash.skel.h: $(B)/linked.bpf.o
	$(call msg,SKEL,$@)
	$(Q)$(BPFTOOL) gen skeleton $< name vpnleash_bpf > $@

$(B)/lab.sh.h: user/lab.sh
	$(call msg,EMBED,$@)
	$(Q)mkdir -p $(@D) && { echo 'static const char lab_sh[] ='; \
		sed 's/\\/\\\\/g; s/"/\\"/g; s/^/\t"/; s/$$/\\n"/' $<; echo ';'; } > $@

$(B)/%.o: %.c | $(B)/vpnleash.skel.h $(B)/lab.sh.h
	$(call msg,CC,$@)
	$(Q)mkdir -p $(@D) && $(CC) $(CFLAGS) -c $< -o $@

$(B)/vpnleash: $(OBJ)
	$(call msg,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $^ $(LDLIBS) -o $@

$(B)/tests/prove: $(B)/tests/prove_main.o $(LIB)
	$(call msg,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $^ $(LDLIBS) -o $@

$(B)/tests/%: $(B)/tests/%.o $(LIB)
	$(call msg,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $^ $(LDLIBS) -lcmocka -o $@

clean: ## remove build/ (never pins, cgroups or namespaces)
	rm -rf build

-include $(OBJ:.o=.d) $(wildcard $(B)/*.bpf.d $(B)/tests/*.d $(B)/tests/*/*.d)
