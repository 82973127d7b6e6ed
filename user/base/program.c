/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/program.h"

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "paths.h"

#define NOBODY	   65534
#define LINKS_MAX  40 /* of one path, as the kernel's */
#define PROGRAM_FD 3

/* ------ which one it is ------ */

/* A path that is walked name by name: `at` is how far, by directories that only root may change. */
struct way {
	int at;
	char rest[PATH_MAX]; /* empty, or from a slash on */
	unsigned int links;
};

/* Only root may write it. In a sticky directory others may add names, and replace none of root's.
 */
static bool is_roots(const struct stat *st)
{
	bool sticky = S_ISDIR(st->st_mode) && st->st_mode & S_ISVTX;

	return !st->st_uid && (S_ISLNK(st->st_mode) || !(st->st_mode & 022) || sticky);
}

/* Put the target of a link before the rest of the path. 0 or -Exxx. */
static int way_follow(struct way *w, int link_fd)
{
	char rest[PATH_MAX];
	ssize_t n = readlinkat(link_fd, "", rest, sizeof(rest) - 1);

	if (n < 0)
		return -errno;
	if (++w->links > LINKS_MAX)
		return -ELOOP;
	if ((size_t)snprintf(rest + n, sizeof(rest) - (size_t)n, "%s", w->rest) >=
	    sizeof(rest) - (size_t)n)
		return -ENAMETOOLONG;
	strcpy(w->rest, rest);
	if (*rest != '/')
		return 0;
	w->at = close_fd(w->at);
	w->at = open("/", O_PATH | O_CLOEXEC);
	return w->at < 0 ? -errno : 0;
}

/* Walk one name further. 0 or -Exxx; -EPERM: others than root may write what has that name. */
static int way_step(struct way *w, char name[NAME_MAX + 1])
{
	char *begin = w->rest + strspn(w->rest, "/");
	size_t n = strcspn(begin, "/");
	_cleanup_fd int next = -1;
	struct stat st;

	if (n > NAME_MAX)
		return -ENAMETOOLONG;
	snprintf(name, NAME_MAX + 1, "%.*s", (int)n, begin);
	memmove(w->rest, begin + n, strlen(begin + n) + 1);
	next = openat(w->at, n ? name : ".", O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (next < 0 || fstat(next, &st) < 0)
		return -errno;
	if (!is_roots(&st))
		return -EPERM;
	if (S_ISLNK(st.st_mode))
		return way_follow(w, next);
	w->at = close_fd(w->at);
	w->at = TAKE_FD(next);
	return 0;
}

/* Each directory and link is judged as it was opened on the way: what comes to have one of these
 * names afterwards is nobody's concern. */
int program_open(const char *what, const char *program, struct error *err)
{
	struct way w = { .at = open("/", O_PATH | O_CLOEXEC) };
	char name[NAME_MAX + 1] = "";
	_cleanup_fd int fd = -1;
	int r = w.at < 0 ? -errno : 0;
	struct stat st = { 0 };

	if (*program != '/' ||
	    (size_t)snprintf(w.rest, sizeof(w.rest), "/.%s", program) >= sizeof(w.rest))
		r = -EINVAL;
	while (!r && *w.rest)
		r = way_step(&w, name);
	fd = w.at;
	if (r == -EPERM)
		return fail(err, ERROR_INPUT, 0, "chown root, chmod go-w",
			    "%s '%s': '%s' can be written by others than root", what,
			    quote(program), quote(name));
	if (r)
		return fail(err, ERROR_INPUT, r == -EINVAL ? 0 : r,
			    "the full path of a program, or the name of one in " HOOKS_DIR,
			    "%s '%s'", what, quote(program));
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || !(st.st_mode & 0111))
		return fail(err, ERROR_INPUT, 0, "chmod +x", "%s '%s' is not a program", what,
			    quote(program));
	return TAKE_FD(fd);
}

/* ------ what it becomes ------ */

void program_environment(void)
{
	clearenv();
	setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1);
}

static int become_user(void)
{
	const struct passwd *p = getpwnam("vpnleash");
	uid_t uid = p ? p->pw_uid : NOBODY;
	gid_t gid = p ? p->pw_gid : NOBODY;

	if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
		return -errno;
	capng_clear(CAPNG_SELECT_ALL);
	if (capng_apply(CAPNG_SELECT_BOTH) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -EPERM;
	return 0;
}

void program_become(int fd, const char *name, pid_t parent)
{
	char *argv[] = { (char *)name, NULL };

	if (become_user() ||
	    /* a change of the uid takes it back, so it comes after that */
	    prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent ||
	    dup2(fd, PROGRAM_FD) < 0 || close_range(PROGRAM_FD + 1, ~0U, 0) < 0 || chdir("/") < 0)
		_exit(126);
	/* it stays open: what interprets a script is told of it as /dev/fd/3 */
	execveat(PROGRAM_FD, "", argv, environ, AT_EMPTY_PATH);
	_exit(127);
}
