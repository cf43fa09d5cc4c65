/*
 * LD_PRELOAD for DCMTK's clients: what they read is acknowledged at once, so that a server with Nagle's algorithm on
 * sends its next piece at once.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

typedef ssize_t (*read_fn)(int, void *, size_t);

ssize_t read(int file, void *buffer, size_t size)
{
    static read_fn next;
    int on = 1;
    ssize_t count;

    if (next == NULL)
        next = (read_fn)dlsym(RTLD_NEXT, "read");
    count = next(file, buffer, size);
    /* Fails for what is no TCP socket, which does not matter. */
    if (count > 0)
        (void)setsockopt(file, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof on);
    return count;
}
