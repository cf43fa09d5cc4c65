/*
 * LD_PRELOAD for servers that have no setting for the address they listen on (DCMTK's, Orthanc's DICOM port):
 * a bind to "every address" becomes a bind to loopback, so that a test opens nothing to the network.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

typedef int (*bind_fn)(int, const struct sockaddr *, socklen_t);

int bind(int socket, const struct sockaddr *address, socklen_t length)
{
    bind_fn next = (bind_fn)dlsym(RTLD_NEXT, "bind");
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } local;

    if (address == NULL || length > sizeof local)
        return next(socket, address, length);
    memset(&local, 0, sizeof local);
    memcpy(&local, address, length);
    if (local.any.sa_family == AF_INET && local.v4.sin_addr.s_addr == htonl(INADDR_ANY))
        local.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    else if (local.any.sa_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&local.v6.sin6_addr))
        local.v6.sin6_addr = in6addr_loopback;
    else
        return next(socket, address, length);
    return next(socket, &local.any, length);
}
