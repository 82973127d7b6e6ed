/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Configuration files. Our own reader of `key = value`: measured, inih keeps inline comments in
 * values, joins indented lines to the key before, cuts at 200 bytes and knows no line numbers.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/keys.h"

#define FILE_MAX (256 * 1024)

/* ------ the text ------ */

static const char *const section_names[] = { [SECTION_NONE] = "",
					     [SECTION_DAEMON] = "daemon",
					     [SECTION_TUNNEL] = "tunnel",
					     [SECTION_WORKLOAD] = "workload" };

struct reader {
	struct config *config;
	struct config_line at;
	enum section section;
	struct place place;
	struct config_origin *origin; /* of the section; NULL: of [daemon] */
	uint64_t given;		      /* in this section: bits of keys */
	struct error *err;
};

#define fail_here(r, ...) config_fail_at((r)->at, (r)->err, __VA_ARGS__)

/* Cut white space at both ends. */
static char *trim(char *s)
{
	s += strspn(s, " \t");
	for (size_t n = strlen(s); n && strchr(" \t\r", s[n - 1]); n--)
		s[n - 1] = '\0';
	return s;
}

/* Of a whole line: a comment is # or ; at its start or after white space. */
static char *strip_line(char *s)
{
	for (char *c = s; *c; c++)
		if ((*c == '#' || *c == ';') && (c == s || c[-1] == ' ' || c[-1] == '\t')) {
			*c = '\0';
			break;
		}
	return trim(s);
}

static bool is_taken(const struct config *c, enum section section, const char *name)
{
	for (size_t i = 0; section == SECTION_TUNNEL && i < c->n_tunnels; i++)
		if (!strcmp(c->tunnels[i].name, name))
			return true;
	for (size_t i = 0; section == SECTION_WORKLOAD && i < c->n_workloads; i++)
		if (!strcmp(c->workloads[i].name, name))
			return true;
	return false;
}

/* Read "[section name]". Cuts s up. */
static int read_section(struct reader *r, char *s, enum section *ret, const char **ret_name)
{
	char *end = strchr(s, ']'), *name = s + 1 + strcspn(s + 1, " \t]");
	enum section found = SECTION_NONE;

	if (!end || end[1])
		return fail_here(r, "[tunnel NAME], [workload NAME] or [daemon]", "not a section");
	*end = '\0';
	if (*name)
		*name++ = '\0';
	name = trim(name);
	for (enum section i = SECTION_DAEMON; i <= SECTION_WORKLOAD; i++)
		if (!strcmp(s + 1, section_names[i]))
			found = i;
	if (!found)
		return fail_here(r, "tunnel, workload or daemon", "unknown section '%s'",
				 quote(s + 1));
	if ((found == SECTION_DAEMON) != !*name || strlen(name) >= CONFIG_NAME_LEN)
		return fail_here(r, "[daemon], [tunnel NAME], [workload NAME]",
				 "a wrong name for [%s]", section_names[found]);
	*ret = found;
	*ret_name = name;
	return 0;
}

/* Begin the section: from here on its keys go to a new tunnel or workload, or to the daemon's. */
static int open_section(struct reader *r, char *s)
{
	struct config *c = r->config;
	const char *name = "";
	int e = read_section(r, s, &r->section, &name);

	if (e)
		return e;
	if (is_taken(c, r->section, name))
		return fail_here(r, "give each one name", "[%s %s] is given twice",
				 section_names[r->section], quote(name));
	r->given = 0;
	r->place = (struct place) { .config = c };
	r->origin = NULL;
	if (r->section == SECTION_DAEMON) {
		if (c->has_daemon)
			return fail_here(r, "keep one of them", "[daemon] is given twice");
		c->has_daemon = true;
		return 0;
	}
	if (r->section == SECTION_TUNNEL) {
		r->place.tunnel = config_add_tunnel(c, name);
		if (!r->place.tunnel)
			return fail_here(r, NULL, "more than %d tunnels", CONFIG_TUNNELS);
		r->origin = &c->tunnel_origins[c->n_tunnels - 1];
	} else {
		r->place.workload = config_add_workload(c, name);
		if (!r->place.workload)
			return fail_here(r, NULL, "more than %d workloads", CONFIG_WORKLOADS);
		r->origin = &c->workload_origins[c->n_workloads - 1];
	}
	snprintf(r->origin->file, sizeof(r->origin->file), "%s", r->at.file);
	r->origin->line = r->at.number;
	return 0;
}

static int take_key(struct reader *r, char *s)
{
	char *value = strchr(s, '='), shown[128]; /* leaves room for the reason */
	const struct key *key;
	struct error why = { 0 };

	if (!value)
		return fail_here(r, "key = value, or [section]", "neither a key nor a section");
	*value++ = '\0';
	s = trim(s);
	value = trim(value);
	if (!r->section)
		return fail_here(r, "begin with [tunnel NAME]", "'%s' stands in no section",
				 quote(s));
	key = key_find(r->section, s, strlen(s));
	if (!key)
		return fail_here(r,
				 key_find(SECTION_NONE, s, strlen(s))
					 ? "it belongs in another section"
					 : "see vpnleash.conf(5)",
				 "unknown key '%s' in [%s]", quote(s), section_names[r->section]);
	if (r->given & key_bit(key) && !key->repeatable)
		return fail_here(r, "keep one of them", "'%s' is given twice", key->name);
	r->given |= key_bit(key);
	if (key->kind == KEY_TUNNEL)
		r->origin->tunnel_line = r->at.number;
	if (key->set(&r->place, value, &why))
		return fail_here(r, NULL, "%s = %s: %s", key->name,
				 escape(shown, sizeof(shown), value), why.text);
	return 0;
}

int config_parse_text(struct config *c, const char *name, char *text, struct error *err)
{
	struct reader r = { .config = c, .at.file = name, .err = err };
	char *next;

	for (char *line = text; line; line = next) {
		char *s;
		int e = 0;

		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		r.at.number++;
		s = strip_line(line);
		if (*s == '[')
			e = open_section(&r, s);
		else if (*s)
			e = take_key(&r, s);
		if (e)
			return e;
	}
	return 0;
}

/* ------ the files ------ */

/* Whoever may write the file, or a directory above it, decides what is leashed. */
static int check_owner(const char *path, const struct stat *st, struct error *err)
{
	if (st->st_uid == 0 && !(st->st_mode & 022))
		return 0;
	return fail(err, ERROR_INPUT, -EPERM, "chown root, chmod go-w",
		    "trust '%s' (uid %u, mode %o)", quote(path), st->st_uid, st->st_mode & 07777);
}

/* Every directory above. Writes into `path`. */
static int check_above(char *path, struct error *err)
{
	for (char *slash = strrchr(path, '/'); slash; slash = strrchr(path, '/')) {
		const char *dir = slash == path ? "/" : path;
		struct stat st;
		int r;

		*slash = '\0';
		if (stat(dir, &st) < 0)
			return fail(err, ERROR_INPUT, -errno, NULL, "look at '%s'", quote(dir));
		/* a sticky directory such as /tmp lets nobody replace what is root's */
		r = st.st_mode & S_ISVTX && st.st_uid == 0 ? 0 : check_owner(dir, &st, err);
		if (r)
			return r;
	}
	return 0;
}

/* As it is written and as it resolves: who owns a link in the path chooses the file. */
static int check_parents(const char *path, struct error *err)
{
	char full[PATH_MAX], written[PATH_MAX];
	int r;

	if (!realpath(path, full))
		return fail(err, ERROR_INPUT, -errno, "write one, or give -c FILE", "open '%s'",
			    quote(path));
	snprintf(written, sizeof(written), "%s", path);
	r = check_above(written, err);
	return r ? r : check_above(full, err);
}

/* The whole text, at most FILE_MAX bytes of it, with a NUL behind it. */
static int read_text(int fd, const char *name, char *text, struct error *err)
{
	ssize_t got = 1;
	size_t n = 0;

	while (n <= FILE_MAX && (got = read(fd, text + n, FILE_MAX + 1 - n)) > 0)
		n += (size_t)got;
	if (got < 0) /* half a configuration would leave the other half unleashed */
		return fail(err, ERROR_INPUT, -errno, NULL, "read '%s'", quote(name));
	if (n > FILE_MAX)
		return fail(err, ERROR_INPUT, -EFBIG, "at most 256 KiB", "read '%s'", quote(name));
	text[n] = '\0';
	if (strlen(text) != n)
		return wrong(err, "a text file", "'%s' has a NUL byte", quote(name));
	return 0;
}

static int read_file(struct config *c, const char *name, struct error *err)
{
	int r = check_parents(name, err);
	_cleanup_free char *text = NULL;
	_cleanup_fd int fd = -1;
	struct stat st;

	if (r)
		return r;
	fd = open(name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return fail(err, ERROR_INPUT, -errno,
			    errno == ELOOP ? "it must not be a symbolic link"
					   : "write one, or give -c FILE",
			    "open '%s'", quote(name));
	if (!S_ISREG(st.st_mode))
		return wrong(err, "a regular file", "'%s' is not a file", quote(name));
	r = check_owner(name, &st, err);
	if (r)
		return r;
	text = malloc(FILE_MAX + 1);
	if (!text)
		return fail(err, ERROR_OTHER, -ENOMEM, NULL, "read '%s'", quote(name));
	r = read_text(fd, name, text, err);
	return r ? r : config_parse_text(c, name, text, err);
}

static int ends_in_conf(const struct dirent *e)
{
	const char *dot = strrchr(e->d_name, '.');

	return e->d_name[0] != '.' && dot && !strcmp(dot, ".conf");
}

/* The files of conf.d beside `file`, in the order of their names. */
static int read_more(struct config *c, const char *file, struct error *err)
{
	const char *slash = strrchr(file, '/');
	struct dirent **entries = NULL;
	char dir[PATH_MAX + 8], name[PATH_MAX + 300];
	int n, r = 0;

	snprintf(dir, sizeof(dir), "%.*sconf.d", slash ? (int)(slash - file + 1) : 0, file);
	n = scandir(dir, &entries, ends_in_conf, alphasort);
	if (n < 0 && errno != ENOENT)
		return fail(err, ERROR_INPUT, -errno, "a directory, or nothing", "read '%s'",
			    quote(dir));
	for (int i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "%s/%s", dir, entries[i]->d_name);
		if (!r)
			r = read_file(c, name, err);
		free(entries[i]);
	}
	free(entries);
	return r;
}

int config_read(const char *file, struct config *ret, struct error *err)
{
	_cleanup_(config_free) struct config c = { 0 };
	int r = config_init(&c, err);

	if (!r)
		r = read_file(&c, file, err);
	if (!r)
		r = read_more(&c, file, err);
	if (!r)
		r = config_finish(&c, file, err);
	if (r)
		return r;
	*ret = c;
	c = (struct config) { 0 };
	return 0;
}
