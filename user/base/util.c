/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/util.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Length of the valid, printable UTF-8 sequence at s, 0 if there is none. */
static size_t utf8_length(const unsigned char *s)
{
	size_t n = s[0] < 0x80			 ? 1
		   : s[0] >= 0xc2 && s[0] < 0xe0 ? 2
		   : (s[0] & 0xf0) == 0xe0	 ? 3
		   : s[0] >= 0xf0 && s[0] < 0xf5 ? 4
						 : 0;

	for (size_t i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	/* overlong forms, surrogates, beyond U+10FFFF; C1 controls act on terminals */
	if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] >= 0xa0) ||
	    (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] >= 0x90) ||
	    (s[0] == 0xc2 && s[1] < 0xa0))
		return 0;
	/* U+2028 to 202E, 2066 to 2069: valid, but they end lines and turn text around */
	if (s[0] == 0xe2 && ((s[1] == 0x80 && s[2] >= 0xa8 && s[2] <= 0xae) ||
			     (s[1] == 0x81 && s[2] >= 0xa6 && s[2] <= 0xa9)))
		return 0;
	return n;
}

char *make_harmless(char *line)
{
	for (unsigned char *s = (unsigned char *)line; *s;) {
		size_t n = *s < 0x20 || *s == 0x7f ? 0 : utf8_length(s);

		if (!n)
			*s = '?';
		s += n ? n : 1;
	}
	return line;
}

int fail(struct error *err, enum error_kind kind, int r, const char *remedy, const char *format,
	 ...)
{
	char what[384];
	va_list ap;

	if (err) {
		va_start(ap, format);
		vsnprintf(what, sizeof(what), format, ap);
		va_end(ap);
		err->kind = kind;
		snprintf(err->text, sizeof(err->text), "%s%s%s%s%s%s", what, r ? ": " : "",
			 r ? strerror(-r) : "", remedy ? " (" : "", remedy ? remedy : "",
			 remedy ? ")" : "");
		make_harmless(err->text);
	}
	return r ? r : -EINVAL;
}

void log_line(enum log_level level, const char *format, ...)
{
	/* journald, when it reads stderr, understands the kernel's "<N>" prefix (sd-daemon(3)). */
	static int journal = -1;
	char line[1024];
	va_list ap;

	if (journal < 0)
		journal = getenv("JOURNAL_STREAM") != NULL;
	va_start(ap, format);
	vsnprintf(line, sizeof(line), format, ap);
	va_end(ap);
	make_harmless(line);
	if (journal)
		fprintf(stderr, "<%d>%s\n", level, line);
	else
		fprintf(stderr, "vpnleash: %s\n", line);
}

char *escape(char *dst, size_t size, const char *src)
{
	size_t at = 0;

	for (const unsigned char *s = (const unsigned char *)src; *s;) {
		bool plain = *s >= 0x20 && *s != 0x7f && *s != '"' && *s != '\'' && *s != '\\';
		size_t n = plain ? utf8_length(s) : 0;

		if (at + (n ? n : 4) + 1 > size)
			break;
		if (n) {
			memcpy(dst + at, s, n);
			at += n;
			s += n;
		} else {
			at += (size_t)snprintf(dst + at, size - at, "\\x%02x", *s);
			s++;
		}
	}
	dst[at] = '\0';
	return dst;
}

const char *quote(const char *text)
{
	static _Thread_local char quoted[8][256];
	static _Thread_local unsigned int at;

	return escape(quoted[at++ % ARRAY_SIZE(quoted)], sizeof(quoted[0]), text);
}

int close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
	return -1;
}

void close_fd_of(int *fd)
{
	close_fd(*fd);
}

void free_mem(void *p)
{
	free(*(void **)p);
}

void close_file(FILE **f)
{
	if (*f)
		fclose(*f);
}

void close_dir(DIR **d)
{
	if (*d)
		closedir(*d);
}

uint64_t now_boot_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t)t.tv_sec * NS_PER_SEC + (uint64_t)t.tv_nsec;
}

bool in_time_namespace(void)
{
	_cleanup_file FILE *f = fopen("/proc/self/timens_offsets", "re");
	long long s, ns;
	char line[128];

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%*s %lld %lld", &s, &ns) == 2 && (s || ns))
			return true;
	return false;
}

int parse_duration(const char *text, uint64_t *ret_ns)
{
	char *end;
	uint64_t unit, value;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno)
		return -EINVAL;
	unit = !strcmp(end, "ms")	    ? NS_PER_MSEC
	       : !strcmp(end, "s") || !*end ? NS_PER_SEC
	       : !strcmp(end, "min")	    ? 60 * NS_PER_SEC
					    : 0;
	if (!unit || value > UINT64_MAX / 2 / unit)
		return -EINVAL;
	*ret_ns = value * unit;
	return 0;
}

ssize_t read_small(int dirfd, const char *path, char *buf, size_t size)
{
	_cleanup_fd int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, buf, size - 1);
	if (n < 0)
		return -errno;
	if (n > 0 && buf[n - 1] == '\n')
		n--;
	buf[n] = '\0';
	return n;
}

int write_small(int dirfd, const char *path, const char *text)
{
	_cleanup_fd int fd = openat(dirfd, path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	return write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

int events_say(int events_fd, const char *line)
{
	char text[128];
	ssize_t n = pread(events_fd, text, sizeof(text) - 1, 0);

	if (n < 0)
		return -errno;
	text[n] = '\0';
	return strstr(text, line) != NULL;
}

static const uint8_t mapped[12] = { [10] = 0xff, 0xff };

void map_address(uint8_t ret[16], int family, const void *bytes)
{
	bool v4 = family == AF_INET;

	memcpy(ret, mapped, sizeof(mapped));
	memcpy(ret + (v4 ? sizeof(mapped) : 0), bytes, v4 ? 4 : 16);
}

bool is_mapped(const uint8_t address[16])
{
	return !memcmp(address, mapped, sizeof(mapped));
}

uint16_t inet_checksum(const void *bytes, size_t length)
{
	const uint8_t *p = bytes;
	uint32_t sum = 0;

	for (size_t i = 0; i + 1 < length; i += 2)
		sum += (uint32_t)p[i] << 8 | p[i + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t)~sum);
}
