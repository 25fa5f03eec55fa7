/*
 * A journal of everything that a process does to the files of one directory, in the order in which it happened, with what
 * was written: what a power cut may take is then cut off a copy instead of off a machine. Preloaded into the server
 * (LD_PRELOAD), it stands before libc's calls on files. IM_DATA_DIR names the directory, POWER_JOURNAL the journal.
 *
 * A record is a head and a payload; replay.ts reads it. Each operation and its record are one step under a lock, so the
 * journal's order is the files'. Only a sync is two records, its beginning and its end, with others between them: it
 * keeps what was written before it began, and has done so when it ended.
 *
 * Once the file `<journal>.die` exists, the process ends by SIGKILL with the next operation, after its record: so the
 * journal is exact past a kill too. Calls that are not here would show as a difference between the replayed journal and
 * the directory, which the test compares at every end of the process.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { START = 1, OPEN, WRITE, TRUNCATE, SYNC_BEGAN, SYNC_ENDED, CLOSE, RENAME, UNLINK, MKDIR };
enum { CREATED = 1, TRUNCATED = 2, DIRECTORY = 4 };
enum { MAX_FD = 65536, MAX_STREAMS = 4096 };

struct head {
  uint32_t bytes;
  uint32_t kind;
  int64_t fd;
  int64_t number;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char root[4096];
static size_t rootBytes;
static char dieFile[4200];
static int journal = -1;
static int64_t syncs;
/* Written under the lock; a descriptor in use is not looked up while it is opened or closed. */
static volatile unsigned char known[MAX_FD];
static struct { FILE *stream; int fd; } streams[MAX_STREAMS];

#define REAL(name) ((__typeof__(name) *)real(#name))
static void *real(const char *name) {
  void *found = dlsym(RTLD_NEXT, name);
  if (!found) abort();
  return found;
}

static void put(uint32_t kind, int64_t fd, int64_t number, const void *payload, size_t bytes) {
  struct head head = {(uint32_t)bytes, kind, fd, number};
  struct iovec parts[2] = {{&head, sizeof head}, {(void *)payload, bytes}};
  if (syscall(SYS_writev, journal, parts, 2) != (long)(sizeof head + bytes)) abort();
  if (kind != START && syscall(SYS_faccessat, AT_FDCWD, dieFile, F_OK) == 0) {
    /* The lock is held: no other operation happens any more. */
    kill(getpid(), SIGKILL);
    for (;;) pause();
  }
}

__attribute__((constructor)) static void start(void) {
  const char *directory = getenv("IM_DATA_DIR"), *file = getenv("POWER_JOURNAL");
  if (!directory || !file) return;
  snprintf(root, sizeof root, "%s", directory);
  snprintf(dieFile, sizeof dieFile, "%s.die", file);
  journal = syscall(SYS_openat, AT_FDCWD, file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (journal < 0) abort();
  rootBytes = strlen(root);
  put(START, 0, 0, "", 0);
}

/* The path below the directory, or null. */
static const char *below(const char *path) {
  if (rootBytes == 0 || strncmp(path, root, rootBytes) != 0) return NULL;
  if (path[rootBytes] == 0) return path + rootBytes;
  return path[rootBytes] == '/' ? path + rootBytes + 1 : NULL;
}
static int tracked(int fd) { return fd >= 0 && fd < MAX_FD && known[fd]; }

static int opened(const char *path, const char *name, int flags, mode_t mode) {
  pthread_mutex_lock(&lock);
  struct stat before, after;
  int existed = syscall(SYS_newfstatat, AT_FDCWD, path, &before, 0) == 0;
  int fd = syscall(SYS_openat, AT_FDCWD, path, flags, mode);
  int error = errno;
  if (fd >= MAX_FD) abort();
  if (fd >= 0) {
    syscall(SYS_fstat, fd, &after);
    int isDirectory = S_ISDIR(after.st_mode);
    if (isDirectory || (flags & O_ACCMODE) != O_RDONLY) {
      known[fd] = 1;
      int how = (existed ? 0 : CREATED) | (flags & O_TRUNC ? TRUNCATED : 0) | (isDirectory ? DIRECTORY : 0);
      put(OPEN, fd, how, name, strlen(name));
    }
  }
  pthread_mutex_unlock(&lock);
  errno = error;
  return fd;
}

#define MODE(flags) \
  mode_t mode = 0; \
  if ((flags) & (O_CREAT | __O_TMPFILE)) { va_list rest; va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); }
#define OPENS(function) \
  int function(const char *path, int flags, ...) { \
    MODE(flags) \
    const char *name = below(path); \
    return name ? opened(path, name, flags, mode) : REAL(function)(path, flags, mode); \
  }
OPENS(open)
OPENS(open64)
#define OPENS_AT(function) \
  int function(int at, const char *path, int flags, ...) { \
    MODE(flags) \
    const char *name = below(path); \
    return name ? opened(path, name, flags, mode) : REAL(function)(at, path, flags, mode); \
  }
OPENS_AT(openat)
OPENS_AT(openat64)

int close(int fd) {
  if (!tracked(fd)) return REAL(close)(fd);
  pthread_mutex_lock(&lock);
  known[fd] = 0;
  int result = syscall(SYS_close, fd);
  put(CLOSE, fd, 0, "", 0);
  pthread_mutex_unlock(&lock);
  return result;
}

/* At the descriptor's position where `at` is -1. */
static ssize_t written(int fd, const struct iovec *parts, int count, int64_t at) {
  size_t bytes = 0;
  for (int i = 0; i < count; i++) bytes += parts[i].iov_len;
  char *all = malloc(bytes + 1), *end = all;
  if (!all) abort();
  for (int i = 0; i < count; i++) end = mempcpy(end, parts[i].iov_base, parts[i].iov_len);
  pthread_mutex_lock(&lock);
  int appends = at < 0 && (fcntl(fd, F_GETFL) & O_APPEND);
  int64_t where = at >= 0 ? at : appends ? lseek(fd, 0, SEEK_END) : lseek(fd, 0, SEEK_CUR);
  ssize_t result = at >= 0 ? syscall(SYS_pwrite64, fd, all, bytes, at) : syscall(SYS_write, fd, all, bytes);
  int error = errno;
  if (result > 0) put(WRITE, fd, where, all, result);
  pthread_mutex_unlock(&lock);
  free(all);
  errno = error;
  return result;
}
static ssize_t writtenOne(int fd, const void *bytes, size_t count, int64_t at) {
  struct iovec part = {(void *)bytes, count};
  return written(fd, &part, 1, at);
}
ssize_t write(int fd, const void *bytes, size_t count) {
  return tracked(fd) ? writtenOne(fd, bytes, count, -1) : REAL(write)(fd, bytes, count);
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
  return tracked(fd) ? written(fd, parts, count, -1) : REAL(writev)(fd, parts, count);
}
#define PWRITES(function, offset) \
  ssize_t function(int fd, const void *bytes, size_t count, offset at) { \
    return tracked(fd) ? writtenOne(fd, bytes, count, at) : REAL(function)(fd, bytes, count, at); \
  }
PWRITES(pwrite, off_t)
PWRITES(pwrite64, off64_t)
#define PWRITEVS(function, offset) \
  ssize_t function(int fd, const struct iovec *parts, int count, offset at) { \
    return tracked(fd) ? written(fd, parts, count, at) : REAL(function)(fd, parts, count, at); \
  }
PWRITEVS(pwritev, off_t)
PWRITEVS(pwritev64, off64_t)

#define TRUNCATES(function, offset) \
  int function(int fd, offset bytes) { \
    if (!tracked(fd)) return REAL(function)(fd, bytes); \
    pthread_mutex_lock(&lock); \
    int result = syscall(SYS_ftruncate, fd, bytes); \
    if (result == 0) put(TRUNCATE, fd, bytes, "", 0); \
    pthread_mutex_unlock(&lock); \
    return result; \
  }
TRUNCATES(ftruncate, off_t)
TRUNCATES(ftruncate64, off64_t)

static int synced(int fd, long call) {
  pthread_mutex_lock(&lock);
  int64_t number = ++syncs;
  put(SYNC_BEGAN, fd, number, "", 0);
  pthread_mutex_unlock(&lock);
  int result = syscall(call, fd);
  int error = errno;
  pthread_mutex_lock(&lock);
  if (result == 0) put(SYNC_ENDED, fd, number, "", 0);
  pthread_mutex_unlock(&lock);
  errno = error;
  return result;
}
int fsync(int fd) { return tracked(fd) ? synced(fd, SYS_fsync) : REAL(fsync)(fd); }
int fdatasync(int fd) { return tracked(fd) ? synced(fd, SYS_fdatasync) : REAL(fdatasync)(fd); }

int rename(const char *from, const char *to) {
  const char *old = below(from), *new = below(to);
  if (!old || !new) return REAL(rename)(from, to);
  char both[8200];
  int bytes = snprintf(both, sizeof both, "%s%c%s", old, 0, new);
  pthread_mutex_lock(&lock);
  int result = syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to), error = errno;
  if (result == 0) put(RENAME, 0, 0, both, bytes);
  pthread_mutex_unlock(&lock);
  errno = error;
  return result;
}
/* `mode` of what is made; how it is removed. */
static int changed(uint32_t kind, const char *name, const char *path, mode_t mode) {
  pthread_mutex_lock(&lock);
  int result = kind == MKDIR ? syscall(SYS_mkdirat, AT_FDCWD, path, mode) : syscall(SYS_unlinkat, AT_FDCWD, path, mode);
  int error = errno;
  if (result == 0) put(kind, 0, 0, name, strlen(name));
  pthread_mutex_unlock(&lock);
  errno = error;
  return result;
}
int unlink(const char *path) {
  const char *name = below(path);
  return name ? changed(UNLINK, name, path, 0) : REAL(unlink)(path);
}
int rmdir(const char *path) {
  const char *name = below(path);
  return name ? changed(UNLINK, name, path, AT_REMOVEDIR) : REAL(rmdir)(path);
}
int mkdir(const char *path, mode_t mode) {
  const char *name = below(path);
  return name ? changed(MKDIR, name, path, mode) : REAL(mkdir)(path, mode);
}

/* libc's streams write past the calls above, so a stream that writes below the directory is one of ours over them. */
static ssize_t streamWrites(void *cookie, const char *bytes, size_t count) {
  ssize_t result = writtenOne((int)(intptr_t)cookie, bytes, count, -1);
  return result < 0 ? 0 : result;
}
static int streamCloses(void *cookie) {
  int fd = (int)(intptr_t)cookie;
  pthread_mutex_lock(&lock);
  for (int i = 0; i < MAX_STREAMS; i++)
    if (streams[i].stream && streams[i].fd == fd) streams[i].stream = NULL;
  pthread_mutex_unlock(&lock);
  return close(fd);
}
static FILE *streamOver(const char *path, const char *name, const char *mode) {
  int fd = opened(path, name, O_WRONLY | O_CREAT | O_CLOEXEC | (mode[0] == 'a' ? O_APPEND : O_TRUNC), 0666);
  if (fd < 0) return NULL;
  cookie_io_functions_t calls = {.write = streamWrites, .close = streamCloses};
  FILE *stream = fopencookie((void *)(intptr_t)fd, mode, calls);
  pthread_mutex_lock(&lock);
  int free = 0;
  while (free < MAX_STREAMS && streams[free].stream) free++;
  if (!stream || free == MAX_STREAMS) abort();
  streams[free].stream = stream;
  streams[free].fd = fd;
  pthread_mutex_unlock(&lock);
  return stream;
}
#define STREAMS(function) \
  FILE *function(const char *path, const char *mode) { \
    const char *name = below(path); \
    return name && mode[0] != 'r' ? streamOver(path, name, mode) : REAL(function)(path, mode); \
  }
STREAMS(fopen)
STREAMS(fopen64)
int fileno(FILE *stream) {
  for (int i = 0; i < MAX_STREAMS; i++)
    if (streams[i].stream == stream) return streams[i].fd;
  return REAL(fileno)(stream);
}
