/* Preloaded into a process, stands between it and the disk, for the files below DISKSHIM_ROOT:
 *
 *   DISKSHIM_LOG   every change is appended here as it succeeds: open (with O_CREAT or O_TRUNC), write, truncate,
 *                  sync, rename, unlink, mkdir. `powercut.py` rebuilds from it what a power cut could leave.
 *   DISKSHIM_FAIL  while this file holds a number, what would change the disk fails with that errno
 *                  (28 full, 30 read-only, 5 broken); "5 sync" fails the syncs alone. Not for a file named
 *                  `marks`: in it a test notes what it did, between the records.
 *
 * A record: a byte for the kind, then path length, second path length, offset, data length as little-endian
 * 64-bit, then the three of them. Records of one process are in the order of its system calls.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static int below_root(const char *path) {
    const char *root = getenv("DISKSHIM_ROOT");
    size_t n = root ? strlen(root) : 0;
    return n && strncmp(path, root, n) == 0 && (path[n] == '/' || path[n] == 0);
}

static int path_of(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = syscall(SYS_readlinkat, AT_FDCWD, link, path, PATH_MAX - 1);
    if (n <= 0) return 0;
    path[n] = 0;
    return below_root(path);
}

static int failure(int sync, const char *path) {
    size_t length = strlen(path);
    if (length > 6 && strcmp(path + length - 6, "/marks") == 0) return 0;
    const char *name = getenv("DISKSHIM_FAIL");
    char text[16] = {0};
    if (!name) return 0;
    int fd = syscall(SYS_openat, AT_FDCWD, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    ssize_t n = syscall(SYS_read, fd, text, sizeof text - 1);
    syscall(SYS_close, fd);
    if (n <= 0 || (!sync && strstr(text, "sync"))) return 0;
    return atoi(text);
}

static void all(int fd, const void *data, size_t size) {
    const char *at = data;
    while (size) {
        ssize_t n = syscall(SYS_write, fd, at, size);
        if (n <= 0) abort();
        at += n;
        size -= n;
    }
}

static void record(char kind, const char *path, const char *to, uint64_t offset, const void *data, uint64_t size) {
    const char *name = getenv("DISKSHIM_LOG");
    if (!name) return;
    int kept = errno;
    uint64_t head[4] = {strlen(path), to ? strlen(to) : 0, offset, data ? size : 0};
    int fd = syscall(SYS_openat, AT_FDCWD, name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0) abort();
    all(fd, &kind, 1);
    all(fd, head, sizeof head);
    all(fd, path, head[0]);
    if (to) all(fd, to, head[1]);
    if (data) all(fd, data, size);
    syscall(SYS_close, fd);
    errno = kept;
}

#define GUARD(fd_or_path_ok, sync, bad)                       \
    int wanted = (fd_or_path_ok), why = wanted ? failure(sync, path) : 0; \
    if (why) { errno = why; return bad; }

static int opened(int fd, int flags, int existed) {
    char full[PATH_MAX];
    if (fd >= 0 && path_of(fd, full)) {
        if ((flags & O_CREAT) && !existed) record('c', full, NULL, 0, NULL, 0);
        if (flags & O_TRUNC) record('t', full, NULL, 0, NULL, 0);
    }
    return fd;
}

static int open_any(int dir, const char *path, int flags, mode_t mode) {
    struct stat st;
    int ours = below_root(path), changes = flags & (O_CREAT | O_TRUNC);
    int existed = ours && syscall(SYS_newfstatat, dir, path, &st, 0) == 0;
    if (ours && ((changes && !existed) || (flags & O_TRUNC))) {
        int why = failure(0, path);
        if (why) { errno = why; return -1; }
    }
    pthread_mutex_lock(&lock);
    int fd = opened(syscall(SYS_openat, dir, path, flags, mode), flags, existed);
    pthread_mutex_unlock(&lock);
    return fd;
}

#define MODE(flags) ({ va_list ap; va_start(ap, flags); mode_t m = (flags & O_CREAT) ? va_arg(ap, mode_t) : 0; va_end(ap); m; })

int open(const char *path, int flags, ...) { return open_any(AT_FDCWD, path, flags, MODE(flags)); }
int open64(const char *path, int flags, ...) { return open_any(AT_FDCWD, path, flags | O_LARGEFILE, MODE(flags)); }
int openat(int dir, const char *path, int flags, ...) { return open_any(dir, path, flags, MODE(flags)); }
int openat64(int dir, const char *path, int flags, ...) { return open_any(dir, path, flags | O_LARGEFILE, MODE(flags)); }

static ssize_t write_at(int fd, const void *data, size_t size, off_t offset) {
    char path[PATH_MAX];
    GUARD(path_of(fd, path), 0, -1)
    if (!wanted) return syscall(SYS_pwrite64, fd, data, size, offset);
    pthread_mutex_lock(&lock);
    ssize_t n = syscall(SYS_pwrite64, fd, data, size, offset);
    if (n > 0) record('w', path, NULL, offset, data, n);
    pthread_mutex_unlock(&lock);
    return n;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) { return write_at(fd, data, size, offset); }
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) { return write_at(fd, data, size, offset); }

ssize_t write(int fd, const void *data, size_t size) {
    char path[PATH_MAX];
    GUARD(path_of(fd, path), 0, -1)
    if (!wanted) return syscall(SYS_write, fd, data, size);
    pthread_mutex_lock(&lock);
    ssize_t n = syscall(SYS_write, fd, data, size);
    if (n > 0) record('w', path, NULL, syscall(SYS_lseek, fd, 0, SEEK_CUR) - n, data, n);
    pthread_mutex_unlock(&lock);
    return n;
}

static int cut(int fd, off_t size) {
    char path[PATH_MAX];
    GUARD(path_of(fd, path), 0, -1)
    if (!wanted) return syscall(SYS_ftruncate, fd, size);
    pthread_mutex_lock(&lock);
    int done = syscall(SYS_ftruncate, fd, size);
    if (done == 0) record('t', path, NULL, size, NULL, 0);
    pthread_mutex_unlock(&lock);
    return done;
}

int ftruncate(int fd, off_t size) { return cut(fd, size); }
int ftruncate64(int fd, off64_t size) { return cut(fd, size); }

static int sync_any(int fd, long number) {
    char path[PATH_MAX];
    GUARD(path_of(fd, path), 1, -1)
    if (!wanted) return syscall(number, fd);
    pthread_mutex_lock(&lock);
    int done = syscall(number, fd);
    if (done == 0) record('s', path, NULL, 0, NULL, 0);
    pthread_mutex_unlock(&lock);
    return done;
}

int fsync(int fd) { return sync_any(fd, SYS_fsync); }
int fdatasync(int fd) { return sync_any(fd, SYS_fdatasync); }

static int change(char kind, const char *path, const char *to, int (*act)(const char *, const char *)) {
    GUARD(below_root(path), 0, -1)
    if (!wanted) return act(path, to);
    pthread_mutex_lock(&lock);
    int done = act(path, to);
    if (done == 0) record(kind, path, to, 0, NULL, 0);
    pthread_mutex_unlock(&lock);
    return done;
}

static int do_unlink(const char *path, const char *to) { (void)to; return syscall(SYS_unlinkat, AT_FDCWD, path, 0); }
static int do_rename(const char *path, const char *to) { return syscall(SYS_renameat2, AT_FDCWD, path, AT_FDCWD, to, 0); }
static int do_mkdir(const char *path, const char *mode) { return syscall(SYS_mkdirat, AT_FDCWD, path, (mode_t)(uintptr_t)mode); }

int unlink(const char *path) { return change('u', path, NULL, do_unlink); }
int rename(const char *path, const char *to) { return change('r', path, to, do_rename); }

int mkdir(const char *path, mode_t mode) {
    GUARD(below_root(path), 0, -1)
    pthread_mutex_lock(&lock);
    int done = do_mkdir(path, (const char *)(uintptr_t)mode);
    if (done == 0 && wanted) record('m', path, NULL, 0, NULL, 0);
    pthread_mutex_unlock(&lock);
    return done;
}

/* Calls that would change a file past us: SQLite and Python do without them here. */
int fallocate(int fd, int mode, off_t offset, off_t size) {
    char path[PATH_MAX];
    if (path_of(fd, path)) { errno = EOPNOTSUPP; return -1; }
    return syscall(SYS_fallocate, fd, mode, offset, size);
}
int posix_fallocate(int fd, off_t offset, off_t size) { return fallocate(fd, 0, offset, size) == 0 ? 0 : errno; }
int posix_fallocate64(int fd, off64_t offset, off64_t size) { return posix_fallocate(fd, offset, size); }
