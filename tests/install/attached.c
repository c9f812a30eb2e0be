/* A program outside that attaches: without a daemon its sockets say so. */
#include <errno.h>
#include <skua/skua.h>
#include <stdio.h>
#include <sys/socket.h>

int main(void) {
    if (skua_socket(AF_INET, SOCK_DGRAM, 0) != -1 || errno != ENOENT) return 1;
    puts("linked and run");
    return 0;
}
