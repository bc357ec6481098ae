/* Stands between a process and its disk. fdatasync waits while the file named by DISK_HELD exists, and fails while the
   one named by DISK_BROKEN does. While the one named by DISK_FULL exists, what is written to the log's segments ends in
   the middle, as where there is no more room. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int exists(const char *variable) {
    const char *path = getenv(variable);
    return path && access(path, F_OK) == 0;
}

int fdatasync(int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    while (exists("DISK_HELD")) usleep(1000);
    if (exists("DISK_BROKEN")) {
        errno = EIO;
        return -1;
    }
    return real(fd);
}

static int is_segment(int fd) {
    char link[32], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path);
    return length > 4 && memcmp(path + length - 4, ".seg", 4) == 0;
}

ssize_t write(int fd, const void *bytes, size_t count) {
    ssize_t (*real)(int, const void *, size_t) = (ssize_t (*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
    if (!exists("DISK_FULL") || !is_segment(fd)) return real(fd, bytes, count);
    if (count > 100) return real(fd, bytes, count / 2);
    errno = ENOSPC;
    return -1;
}
