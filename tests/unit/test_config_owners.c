/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Files of the disk: who may have written them, what is no file, and what conf.d adds. */
#include "test_config.h"

#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[64], path[128];

static int make_dir(void **state)
{
	snprintf(dir, sizeof(dir), "/tmp/vpnleash-test-config-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_one(const char *name, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(name);
}

static int remove_dir(void **state)
{
	return nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

/* Below dir; the result is valid until the next call. */
static const char *below(const char *name)
{
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static void put(const char *name, const char *text)
{
	FILE *f = fopen(below(name), "we");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	chmod(path, 0644);
}

static int read_files(const char *name)
{
	char *file = strdup(below(name));
	int r;

	prepare();
	r = config_read(file, &config, &err);
	owned = !r;
	free(file);
	return r;
}

static void assert_read_refused(const char *name, const char *says, const char *remedy)
{
	assert_true(read_files(name) < 0);
	assert_int_equal(err.kind, ERROR_INPUT);
	if (!strstr(err.text, says) || !strstr(err.text, remedy))
		fail_msg("'%s' and '%s' expected in: %s", says, remedy, err.text);
	assert_null(strpbrk(err.text, "\n\r\033"));
	for (size_t i = 0; i < sizeof(config); i++) /* written on success only */
		assert_int_equal(((const unsigned char *)&config)[i], 0x5a);
}

static void need_root(void)
{
	if (geteuid() == 0)
		return;
	print_message("# SKIP not root: files of other owners can not be made; runs as root\n");
	skip();
}

static void read_owners_and_modes(void **state)
{
	need_root();
	put("a.conf", BOTH);
	assert_int_equal(read_files("a.conf"), 0);
	chmod(path, 0400);
	assert_int_equal(read_files("a.conf"), 0);
	for (const mode_t *m = (const mode_t[]) { 0664, 0646, 0666, 04777, 0 }; *m; m++) {
		chmod(below("a.conf"), *m);
		assert_read_refused("a.conf", "trust", "chmod go-w");
	}
	chmod(below("a.conf"), 0644);
	assert_int_equal(chown(path, 65534, 0), 0);
	assert_read_refused("a.conf", "uid 65534", "chown root");
	assert_int_equal(chown(path, 0, 65534), 0); /* a group that may only read */
	assert_int_equal(read_files("a.conf"), 0);
}

static void read_parents(void **state)
{
	need_root();
	assert_int_equal(mkdir(below("p"), 0755), 0);
	assert_int_equal(mkdir(below("p/q"), 0755), 0);
	put("p/q/a.conf", BOTH);
	assert_int_equal(read_files("p/q/a.conf"), 0);
	assert_int_equal(read_files("p//q/./../q/a.conf"), 0);
	for (const char *const *up = (const char *const[]) { "p/q", "p", NULL }; *up; up++) {
		chmod(below(*up), 0775);
		assert_read_refused("p/q/a.conf", *up, "chmod go-w");
		chmod(below(*up), 0757);
		assert_read_refused("p/q/a.conf", *up, "chmod go-w");
		chmod(below(*up), 0755);
		assert_int_equal(chown(path, 65534, 0), 0);
		assert_read_refused("p/q/a.conf", *up, "chown root");
		chmod(below(*up), 01755); /* sticky, but whose it is may replace all in it */
		assert_read_refused("p/q/a.conf", *up, "chown root");
		chmod(below(*up), 0755);
		assert_int_equal(chown(path, 0, 0), 0);
	}
	chmod(below("p"), 01777);
	assert_int_equal(read_files("p/q/a.conf"), 0);
	/* a link to a good directory, in somebody else's */
	chmod(below("p"), 0755);
	assert_int_equal(mkdir(below("other"), 0755), 0);
	assert_int_equal(symlink("../p/q", below("other/link")), 0);
	assert_int_equal(read_files("other/link/a.conf"), 0);
	assert_int_equal(chown(below("other"), 65534, 0), 0);
	assert_read_refused("other/link/a.conf", "other", "chown root");
}

static void read_what_is_no_file(void **state)
{
	_cleanup_free char *text = malloc(1 << 20);
	FILE *f;

	need_root();
	assert_read_refused("none.conf", "No such file", "give -c FILE");
	assert_read_refused("none/a.conf", "No such file", "give -c FILE");
	assert_int_equal(mkdir(below("dir.conf"), 0755), 0);
	assert_read_refused("dir.conf", "is not a file", "regular");
	assert_int_equal(mkfifo(below("fifo.conf"), 0644), 0);
	assert_read_refused("fifo.conf", "is not a file", "regular"); /* and does not wait */
	put("a.conf", BOTH);
	assert_int_equal(symlink("a.conf", below("link.conf")), 0);
	assert_read_refused("link.conf", "link.conf", "symbolic link");
	assert_int_equal(symlink("nowhere", below("dangling.conf")), 0);
	assert_read_refused("dangling.conf", "No such file", "-c FILE");
	put("empty.conf", "");
	assert_read_refused("empty.conf", "empty.conf: no workload", "[workload NAME]");

	memset(text, '#', 1 << 20);
	f = fopen(below("big.conf"), "we");
	fwrite(text, 1, 1 << 20, f);
	fclose(f);
	assert_read_refused("big.conf", "big.conf", "256 KiB");
	f = fopen(below("nul.conf"), "we");
	fputs(BOTH, f);
	fputc('\0', f);
	fputs("\n[workload v]\n", f);
	fclose(f);
	assert_read_refused("nul.conf", "NUL byte", "text file");
	put("a\n\033.conf", "x");
	assert_read_refused("a\n\033.conf", "a\\x0a\\x1b.conf:1: ", "[section]");
}

static void read_conf_d(void **state)
{
	need_root();
	put("a.conf", BOTH);
	assert_int_equal(mkdir(below("conf.d"), 0755), 0);
	put("conf.d/20-b.conf", "[workload b]\ncgroup=/b\ntunnel=u\n");
	put("conf.d/10-u.conf", "[tunnel u]\ninterface=wg1\nprobe=none\n");
	put("conf.d/9-c.conf", "[workload c]\ncgroup=/c\ntunnel=t"); /* "20" < "9", as ls has it */
	for (const char *const *other =
		     (const char *const[]) { ".hidden.conf", ".conf", "x.conf~", "x.conf.bak",
					     "x.CONF", "xconf", "README", NULL };
	     *other; other++) {
		char name[64];

		snprintf(name, sizeof(name), "conf.d/%s", *other);
		put(name, "nonsense");
	}
	if (read_files("a.conf"))
		fail_msg("%s", err.text);
	assert_int_equal(config.n_tunnels, 2);
	assert_int_equal(config.n_workloads, 3);
	assert_string_equal(config.workloads[0].name, "w");
	assert_string_equal(config.workloads[1].name, "b");
	assert_string_equal(config.workloads[2].name, "c");
	assert_int_equal(config.workloads[1].tunnel, 1);
	assert_int_equal(config.workloads[2].tunnel, 0);
}

static void read_conf_d_that_is_wrong(void **state)
{
	need_root();
	put("a.conf", BOTH "[daemon]\n");
	put("conf.d", ""); /* a file is not a directory without entries */
	assert_read_refused("a.conf", "conf.d", "a directory, or nothing");
	assert_int_equal(unlink(below("conf.d")), 0);
	assert_int_equal(mkdir(below("conf.d"), 0755), 0);
	assert_int_equal(read_files("a.conf"), 0);

	/* the error names its file and its line, also where all files are needed to see it */
	put("conf.d/x.conf", "\n[workload x]\ncgroup = /x\ntunnel = nowhere\n");
	assert_read_refused("a.conf", "conf.d/x.conf:4: [workload x]: there is no [tunnel nowhere]",
			    "add that section");
	put("conf.d/x.conf", "\n[workload x]\ncgroup = /x\n");
	assert_read_refused("a.conf", "conf.d/x.conf:2: [workload x] has no 'tunnel'", "");
	put("conf.d/x.conf", "#\n[workload w]\n");
	assert_read_refused("a.conf", "conf.d/x.conf:2: [workload w] is given twice", "");
	put("conf.d/x.conf", "[daemon]\nlease = 2s\n");
	assert_read_refused("a.conf", "conf.d/x.conf:1: [daemon] is given twice", "");
	put("conf.d/x.conf", "interface = wg0\n"); /* a section ends with its file */
	assert_read_refused("a.conf", "conf.d/x.conf:1: 'interface' stands in no section", "");
	put("conf.d/x.conf", "");
	assert_int_equal(read_files("a.conf"), 0);

	chmod(below("conf.d/x.conf"), 0664);
	assert_read_refused("a.conf", "conf.d/x.conf", "chmod go-w");
	chmod(below("conf.d/x.conf"), 0644);
	chmod(below("conf.d"), 0777);
	assert_read_refused("a.conf", "conf.d'", "chmod go-w");
	chmod(below("conf.d"), 0755);
	assert_int_equal(unlink(below("conf.d/x.conf")), 0);
	assert_int_equal(symlink("../a.conf", below("conf.d/x.conf")), 0);
	assert_read_refused("a.conf", "conf.d/x.conf", "symbolic link");
	assert_int_equal(unlink(below("conf.d/x.conf")), 0);
	assert_int_equal(mkdir(below("conf.d/x.conf"), 0755), 0);
	assert_read_refused("a.conf", "conf.d/x.conf", "regular");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(read_owners_and_modes, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(read_parents, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(read_what_is_no_file, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(read_conf_d, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(read_conf_d_that_is_wrong, make_dir, remove_dir),
	};
	int failed;

	cmocka_set_message_output(CM_OUTPUT_TAP);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	prepare(); /* the last one, for the leak check */
	return failed;
}
