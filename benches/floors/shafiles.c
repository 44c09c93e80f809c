// A floor: reads a NUL-separated list of files from standard input and hashes each with
// libcrypto (SHA-NI where the processor has it) -> "hex  path\n".
//
//   shafiles read|ossl THREADS < LIST            (link with -lcrypto)
#define _GNU_SOURCE
#include <fcntl.h>
#include <openssl/sha.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OUT (256 * 1024)
#define PIECE (1 << 17)

static char **files;
static long count;
static atomic_long next_file;
static int hashing;

typedef struct {
    char *bytes;
    size_t used;
} Out;

static void flush(Out *out) {
    size_t done = 0;
    while (done < out->used) {
        ssize_t took = write(1, out->bytes + done, out->used - done);
        if (took <= 0) exit(1);
        done += took;
    }
    out->used = 0;
}

static void emit(Out *out, const uint8_t *digest, const char *path) {
    static const char hex[] = "0123456789abcdef";
    size_t length = strlen(path);
    if (out->used + length + 80 > OUT) flush(out);
    char *at = out->bytes + out->used;
    for (int i = 0; i < 32; i++) {
        *at++ = hex[digest[i] >> 4];
        *at++ = hex[digest[i] & 15];
    }
    *at++ = ' ';
    *at++ = ' ';
    memcpy(at, path, length);
    at += length;
    *at++ = '\n';
    out->used = at - out->bytes;
}

static void *work(void *unused) {
    Out out = {malloc(OUT + 8192), 0};
    uint8_t *piece = aligned_alloc(4096, PIECE);
    long i;
    while ((i = atomic_fetch_add(&next_file, 1)) < count) {
        int fd = open(files[i], O_RDONLY | O_CLOEXEC);
        if (fd < 0) continue;
        SHA256_CTX state;
        if (hashing) SHA256_Init(&state);
        ssize_t got;
        while ((got = read(fd, piece, PIECE)) > 0) {
            if (hashing) SHA256_Update(&state, piece, got);
            if (got < PIECE) break;
        }
        close(fd);
        if (!hashing) continue;
        uint8_t digest[32];
        SHA256_Final(digest, &state);
        emit(&out, digest, files[i]);
    }
    flush(&out);
    return 0;
}

int main(int argc, char **argv) {
    if (argc < 3) return 2;
    hashing = !strcmp(argv[1], "ossl");
    int threads = atoi(argv[2]);
    size_t room = 1 << 24, used = 0;
    char *list = malloc(room);
    ssize_t got;
    while ((got = read(0, list + used, room - used)) > 0)
        if ((used += got) == room) list = realloc(list, room *= 2);
    files = malloc(sizeof(char *) * (used / 2 + 1));
    for (size_t i = 0; i < used; i += strlen(list + i) + 1) files[count++] = list + i;
    pthread_t workers[64];
    for (int i = 0; i < threads; i++) pthread_create(&workers[i], 0, work, 0);
    for (int i = 0; i < threads; i++) pthread_join(workers[i], 0);
    return 0;
}
