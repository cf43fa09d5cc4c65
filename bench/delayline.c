/*
 * delayline NAMESPACE NAMESPACE MICROSECONDS: a line between two network namespaces on which each packet takes that long.
 * It stands in for a veth pair with netem where the kernel has no netem: a TUN device named "line" in each namespace, whose
 * packets, segmentation left to the other side, are held and handed on in order. Prints "up" when the devices are there.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

/* The largest packet with its head, and how many are held each way: 10 ms of 10 GB/s in packets of 64 KB. */
#define LARGEST 65600
#define HELD 2048

struct packet {
    int64_t due;
    ssize_t size;
    unsigned char bytes[LARGEST];
};

struct way {
    int from, to;
    unsigned first, count;
    struct packet *packets;
};

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static int64_t now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static int device(const char *namespace)
{
    char path[256];
    struct ifreq request;
    int there, file;

    snprintf(path, sizeof path, "/var/run/netns/%s", namespace);
    there = open(path, O_RDONLY | O_CLOEXEC);
    if (there < 0 || setns(there, CLONE_NEWNET) != 0)
        fail(path);
    close(there);
    file = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (file < 0)
        fail("/dev/net/tun");
    memset(&request, 0, sizeof request);
    strcpy(request.ifr_name, "line");
    request.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR;
    if (ioctl(file, TUNSETIFF, &request) != 0)
        fail("TUNSETIFF");
    /* Large segments pass whole, as they do over a veth pair. */
    if (ioctl(file, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4) != 0)
        fail("TUNSETOFFLOAD");
    return file;
}

/* Takes up what has come, as long as there is room. */
static void take(struct way *way, int64_t delay)
{
    while (way->count < HELD) {
        struct packet *packet = &way->packets[(way->first + way->count) % HELD];

        packet->size = read(way->from, packet->bytes, LARGEST);
        if (packet->size < 0)
            return;
        packet->due = now() + delay;
        way->count++;
    }
}

/* Hands on what is due; when the next is, or INT64_MAX. */
static int64_t give(struct way *way)
{
    while (way->count > 0) {
        struct packet *packet = &way->packets[way->first];

        if (packet->due > now())
            return packet->due;
        /* What is not taken is lost, as on any line; before the device is up that is everything. */
        (void)!write(way->to, packet->bytes, (size_t)packet->size);
        way->first = (way->first + 1) % HELD;
        way->count--;
    }
    return INT64_MAX;
}

int main(int count, char **words)
{
    struct way ways[2];
    int64_t delay;
    int n;

    if (count != 4)
        return 2;
    delay = atoll(words[3]) * 1000;
    ways[0].from = ways[1].to = device(words[1]);
    ways[1].from = ways[0].to = device(words[2]);
    for (n = 0; n < 2; n++) {
        ways[n].first = ways[n].count = 0;
        ways[n].packets = malloc(sizeof *ways[n].packets * HELD);
        if (ways[n].packets == NULL)
            fail("malloc");
    }
    puts("up");
    fflush(stdout);
    for (;;) {
        struct pollfd polls[2];
        struct timespec wait;
        int64_t due = INT64_MAX, left;

        for (n = 0; n < 2; n++) {
            int64_t next;

            take(&ways[n], delay);
            next = give(&ways[n]);
            if (next < due)
                due = next;
            polls[n].fd = ways[n].count < HELD ? ways[n].from : -1;
            polls[n].events = POLLIN;
        }
        left = due == INT64_MAX ? 1000000000 : due - now();
        if (left < 0)
            left = 0;
        wait.tv_sec = left / 1000000000;
        wait.tv_nsec = left % 1000000000;
        if (ppoll(polls, 2, &wait, NULL) < 0 && errno != EINTR)
            fail("ppoll");
    }
}
