/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What every file may use and nothing of the domain: errors that carry a sentence, owners of file
 * descriptors and memory, time, small files.
 *
 * Convention: a function returns 0 (or a positive answer) or -Exxx. The place that knows what
 * failed fills struct error once with fail(); callers only return the number; main() or the log
 * prints it once. ret_ parameters are written on success only.
 */
#pragma once

#include <dirent.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

/* What kind of failure it is. The numbers are fixed (docs/abi.md): main() ends with them, and the
 * control socket says them. cmd/cmd.h has the answers. */
enum error_kind {
	ERROR_ABSENT = 1, /* what it needs is not there, or not yet: a negative answer */
	ERROR_INPUT = 2,  /* wrong usage, configuration, label or request */
	ERROR_NO_DAEMON = 3,
	ERROR_PRIVILEGE = 4, /* missing privilege or kernel feature */
	ERROR_OTHER = 5,
};

struct error {
	enum error_kind kind;
	char text[512]; /* "what failed: why (what to do)", one line, escaped */
};

/*
 * Fill `err` (may be NULL) with "<format>: <strerror(-r)> (<remedy>)" and return r.
 * r == 0 leaves out the strerror part and returns -EINVAL. remedy may be NULL.
 */
int fail(struct error *err, enum error_kind kind, int r, const char *remedy, const char *format,
	 ...) __attribute__((format(printf, 5, 6)));

/* The log: one line on stderr, "vpnleash: …"; level prefixes for journald when it reads stderr. */
enum log_level {
	LOG_LEVEL_ERR = 3,
	LOG_LEVEL_WARNING = 4,
	LOG_LEVEL_NOTICE = 5,
	LOG_LEVEL_INFO = 6
};
void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Copy foreign text so that it is one harmless printable line: control bytes, quotes and
 * backslashes and whatever is not valid UTF-8 become \xNN. Always ends in NUL; returns dst. */
char *escape(char *dst, size_t size, const char *src);
/* The same, at most 255 bytes of it, for one message: the eighth call after it takes its place. */
const char *quote(const char *text);

/* The last line of defence for what people read, also where a sentence was cut: bytes that are no
 * printable text become '?', so that no name gets a line of its own. Quotes are the text's own. */
char *make_harmless(char *line);

/* Owners: _cleanup_(f) calls f(&variable) at scope end; TAKE_FD/TAKE_PTR hand the thing over. */
#define _cleanup_(f) __attribute__((cleanup(f)))
int close_fd(int fd); /* returns -1: fd = close_fd(fd) */
void close_fd_of(int *fd);
void free_mem(void *p);
void close_file(FILE **f);
void close_dir(DIR **d);
#define _cleanup_fd   _cleanup_(close_fd_of)
#define _cleanup_free _cleanup_(free_mem)
#define _cleanup_file _cleanup_(close_file)
#define _cleanup_dir  _cleanup_(close_dir)
#define TAKE_FD(fd)                \
	({                         \
		int taken_ = (fd); \
		(fd) = -1;         \
		taken_;            \
	})
#define TAKE_PTR(p)                       \
	({                                \
		__auto_type taken_ = (p); \
		(p) = NULL;               \
		taken_;                   \
	})
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define NS_PER_SEC  1000000000ULL
#define NS_PER_MSEC 1000000ULL
uint64_t now_boot_ns(void); /* CLOCK_BOOTTIME */
/* Is that clock another than the kernel's own, which the gate reads? (v5.6: time namespaces) */
bool in_time_namespace(void);

/* "3s", "500ms", "30" (seconds) → ns. -EINVAL on anything else. */
int parse_duration(const char *text, uint64_t *ret_ns);

/* Whole small file relative to dirfd into buf, NUL-terminated, trailing newline cut; bytes or
 * -Exxx. */
ssize_t read_small(int dirfd, const char *path, char *buf, size_t size);
int write_small(int dirfd, const char *path, const char *text);
/* Does a cgroup.events, open as events_fd, have that line ("frozen 1")? Reading it also ends its
 * EPOLLPRI. 0, 1, or -Exxx: the cgroup is gone. */
int events_say(int events_fd, const char *line);

/* An address of either family in 16 bytes: IPv4 as ::ffff:a.b.c.d. */
void map_address(uint8_t ret[16], int family, const void *bytes);
bool is_mapped(const uint8_t address[16]);
/* RFC 1071 over an even number of bytes, in network byte order; 0 where it is in and right. */
uint16_t inet_checksum(const void *bytes, size_t length);
