// The counting client: one HTTP GET over loopback, read to the end, nothing parsed.
//
//   hsink PORT PATH TOKEN      -> "STATUS BYTES FIRST_US TOTAL_US\n"
//
// Times run from before the request is written: FIRST_US to the first entry (the first `"name":`
// in the first 4 KiB; 0 where there is none), TOTAL_US to the last byte: the last chunk, the
// Content-Length, or the end. It exits with 4 when a chunked answer ends without its last chunk.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PIECE (1 << 20)

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

int main(int argc, char **argv) {
    if (argc < 3) return 2;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1]))};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int socket_ = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(socket_, (void *)&to, sizeof to)) return 1;
    char request[8192];
    int length = snprintf(request, sizeof request,
                          "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer %s\r\n"
                          "Connection: close\r\n\r\n",
                          argv[2], argc > 3 ? argv[3] : "");
    double began = now(), first = 0;
    if (write(socket_, request, length) != length) return 1;
    char *piece = malloc(PIECE), head[4097] = {0}, tail[5] = {0};
    long total = 0, whole = -1;
    size_t kept = 0;
    ssize_t got;
    while ((got = read(socket_, piece, PIECE)) > 0) {
        if (!first) {
            size_t take = (size_t)got < 4096 - kept ? (size_t)got : 4096 - kept;
            memcpy(head + kept, piece, take);
            kept += take;
            char *body = memmem(head, kept, "\r\n\r\n", 4);
            if (body) {
                if (memmem(body, head + kept - body, "\"name\":", 7)) first = now();
                char *said = strcasestr(head, "content-length:");
                if (said && said < body) whole = body + 4 - head + atol(said + 15);
            }
        }
        total += got;
        if (total == whole) break;
        if (got >= 5) memcpy(tail, piece + got - 5, 5);
        else memmove(tail, tail + got, 5 - got), memcpy(tail + 5 - got, piece, got);
        if (!memcmp(tail, "0\r\n\r\n", 5)) break;
    }
    double ended = now();
    int status = 0;
    sscanf(head, "HTTP/1.1 %d", &status);
    int chunked = strcasestr(head, "transfer-encoding: chunked") != 0;
    printf("%d %ld %.0f %.0f\n", status, total, first ? first - began : 0, ended - began);
    return chunked && memcmp(tail, "0\r\n\r\n", 5) ? 4 : 0;
}
