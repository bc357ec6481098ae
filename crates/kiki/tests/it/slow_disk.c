/* Stands between a process and fdatasync: it waits while the file named by DISK_HELD exists, and fails while the one
   named by DISK_BROKEN does. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
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
