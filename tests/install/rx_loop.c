/* A DPDK application with its own RX loop; skua serves the UDP in it. */
#include <arpa/inet.h>
#include <rte_eal.h>
#include <rte_ethdev.h>
#include <signal.h>
#include <skua/skua.h>
#include <stdio.h>

static volatile sig_atomic_t stop;
static void on_signal(int number) {
    (void)number;
    stop = 1;
}

static const char configuration[] =
    "[[port]]\n"
    "device = \"0\"\n"
    "addresses = [\"198.18.0.1/24\", \"2001:db8::1/64\"]\n";

int main(int argc, char** argv) {
    if (rte_eal_init(argc, argv) < 0) return 1;
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);

    struct rte_mempool* pool = rte_pktmbuf_pool_create("rx", 8191, 256, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
    struct rte_eth_conf conf = {0};
    if (pool == NULL || rte_eth_dev_configure(0, 1, 1, &conf) != 0 ||
        rte_eth_rx_queue_setup(0, 0, 1024, SOCKET_ID_ANY, NULL, pool) != 0 ||
        rte_eth_tx_queue_setup(0, 0, 1024, SOCKET_ID_ANY, NULL) != 0 || rte_eth_dev_start(0) != 0)
        return 1;

    /* One shard, driven by this thread; no thread and no port of skua's own. */
    if (skua_start_library(1, configuration) != 0) return 1;
    int fd = skua_socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(7)};
    if (fd < 0 || skua_bind(fd, (struct sockaddr*)&here, sizeof here) != 0) return 1;
    printf("ready\n");
    fflush(stdout);

    while (!stop) {
        struct rte_mbuf *frames[32], *unclaimed[32];
        unsigned n = rte_eth_rx_burst(0, 0, frames, 32);
        unsigned mine = skua_shard_input(0, frames, n, unclaimed);
        rte_pktmbuf_free_bulk(unclaimed, mine); /* TCP and whatever else this application handles itself */

        char data[65536];
        struct sockaddr_in from;
        socklen_t length = sizeof from;
        ssize_t size;
        while ((size = skua_recvfrom(fd, data, sizeof data, 0, (struct sockaddr*)&from, &length)) >= 0)
            skua_sendto(fd, data, (size_t)size, 0, (struct sockaddr*)&from, length);

        skua_shard_poll(0);
        n = skua_shard_output(0, frames, 32);
        unsigned sent = rte_eth_tx_burst(0, 0, frames, n);
        rte_pktmbuf_free_bulk(frames + sent, n - sent);
    }
    skua_stop();
    return rte_eal_cleanup();
}
