// A floor: watches a tree with inotify and nothing else: open, watch, read the names, one
// directory after the other, without rules, names kept or anything told. Prints milliseconds and
// the number of directories.
//
//   watch DIRECTORY
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define MASK (IN_CREATE | IN_DELETE | IN_MODIFY | IN_CLOSE_WRITE | IN_MOVE | IN_DELETE_SELF | \
              IN_MOVE_SELF | IN_EXCL_UNLINK | IN_ONLYDIR)

struct entry { uint64_t inode; int64_t next; uint16_t size; uint8_t type; char name[]; };

static int instance;
static long count;
static char path[1 << 16];

static void watch(int parent, const char *name, size_t length) {
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) return;
    // By path: what a watcher that need not know which directory it got would do.
    if (inotify_add_watch(instance, path, MASK) < 0) { perror("inotify_add_watch"); exit(1); }
    count++;
    char room[65536];
    long got;
    while ((got = syscall(SYS_getdents64, fd, room, sizeof room)) > 0) {
        for (long at = 0; at < got;) {
            struct entry *one = (struct entry *)(room + at);
            at += one->size;
            if (one->type != DT_DIR || !strcmp(one->name, ".") || !strcmp(one->name, "..")) continue;
            size_t more = strlen(one->name);
            path[length] = '/';
            memcpy(path + length + 1, one->name, more + 1);
            watch(fd, one->name, length + 1 + more);
            path[length] = 0;
        }
    }
    close(fd);
}

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    struct timespec from, to;
    strcpy(path, argv[1]);
    clock_gettime(CLOCK_MONOTONIC, &from);
    instance = inotify_init1(IN_CLOEXEC);
    watch(AT_FDCWD, argv[1], strlen(path));
    clock_gettime(CLOCK_MONOTONIC, &to);
    printf("%.3f %ld\n", (to.tv_sec - from.tv_sec) * 1e3 + (to.tv_nsec - from.tv_nsec) / 1e6, count);
    return 0;
}
