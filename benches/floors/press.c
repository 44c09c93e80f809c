// One keep-alive connection, one request after the other, each timed.
//
//   press PORT PATH TOKEN COUNT    -> "REQUESTS RATE P50_US P99_US MAX_US\n"
//
// With COUNT 0 it goes on until SIGTERM. It connects anew when the server closes (Hypercorn does
// after 1,000 requests), within the time of the request that found out. Anything but 200 ends it
// with 3.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MOST 1000000

static volatile sig_atomic_t stopped;
static char request[8192], answer[65536];
static int length, port, line = -1;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

static void stop(int unused) { stopped = 1; }

static int join(void) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int on = 1;
    line = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(line, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return connect(line, (void *)&to, sizeof to);
}

// 1: answered with 200; 0: the server had closed; -1: another answer.
static int ask(void) {
    if (write(line, request, length) != length) return 0;
    size_t used = 0;
    ssize_t got;
    while ((got = read(line, answer + used, sizeof answer - 1 - used)) > 0) {
        answer[used += got] = 0;
        char *body = strstr(answer, "\r\n\r\n");
        if (!body) continue;
        char *said = strcasestr(answer, "content-length:");
        if (strncmp(answer, "HTTP/1.1 200", 12) || !said || said > body) return -1;
        if (used >= (size_t)(body + 4 - answer) + atol(said + 15)) return 1;
    }
    return 0;
}

static int compare(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    if (argc < 5) return 2;
    port = atoi(argv[1]);
    long wanted = atol(argv[4]), done = 0;
    length = snprintf(request, sizeof request,
                      "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer %s\r\n\r\n",
                      argv[2], argv[3]);
    float *took = malloc(sizeof(float) * MOST);
    struct sigaction how = {.sa_handler = stop};
    sigaction(SIGTERM, &how, 0);
    signal(SIGPIPE, SIG_IGN);
    if (join()) return 1;
    double began = now();
    while (!stopped && done < MOST && (!wanted || done < wanted)) {
        double start = now();
        int how = ask();
        if (how == 0 && !stopped) {
            close(line);
            if (join()) return 1;
            how = ask();
        }
        if (stopped && how != 1) break;
        if (how != 1) return fwrite(answer, 1, strlen(answer), stderr), 3;
        took[done++] = now() - start;
    }
    double seconds = (now() - began) / 1e6;
    if (!done) return 3;
    qsort(took, done, sizeof(float), compare);
    printf("%ld %.1f %.0f %.0f %.0f\n", done, done / seconds, took[done / 2],
           took[(long)(done * 0.99)], took[done - 1]);
    return 0;
}
