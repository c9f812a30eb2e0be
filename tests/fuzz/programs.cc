// Fuzz target: BPF programs of both languages for a group. What is accepted is run: nothing may crash, nor may the
// packet be written to; machine code and interpreter choose alike.
#include <rte_mbuf.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <list>
#include <string>
#include <vector>

#include "base/random.hh"
#include "packet/packet.hh"
#include "packet/pool.hh"
#include "udp/bpf_selector.hh"
#include "udp/tables.hh"

namespace skua::test {

namespace {

struct plain_socket final : udp::pcb {
    using pcb::pcb;
};

class target {
public:
    target() : first_(packet::allocate(pool_.get(), 100)), second_(packet::allocate(pool_.get(), 60)) {
        for (std::size_t i = 0; i < 100; i++) rte_pktmbuf_mtod(first_.get(), std::uint8_t*)[i] = std::uint8_t(i);
        // A packet of two segments, as a reassembled one.
        if (rte_pktmbuf_chain(first_.get(), second_.release()) != 0) std::abort();
        for (udp::place_order i = 0; i < 256; i++) members_.join(sockets_.emplace_back(ip_family::v4), i);
        key_.packet = first_.get();
        key_.payload = 42;
        key_.flow.local = *ip_address::parse("198.18.0.1");
        key_.flow.remote = *ip_address::parse("198.18.0.2");
        key_.hash = 12345;
    }

    void run(const std::uint8_t* data, std::size_t size) {
        if (size == 0) return;
        const std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(data + 1), size - 1);
        using enum udp::bpf_selector::execution;
        if (data[0] % 2 == 0)
            return judge(udp::bpf_selector::from_extended(bytes), udp::bpf_selector::from_extended(bytes, interpreted));
        std::vector<sock_filter> classic(bytes.size() / sizeof(sock_filter));
        if (!classic.empty()) std::memcpy(classic.data(), bytes.data(), classic.size() * sizeof(sock_filter));
        judge(udp::bpf_selector::from_classic(classic), udp::bpf_selector::from_classic(classic, interpreted));
    }

private:
    using choice = result<std::shared_ptr<const udp::selector>>;
    void judge(const choice& native, const choice& interpreted) {
        if (!native) return;
        const rte_mbuf before = *first_.get();
        const std::string payload(rte_pktmbuf_mtod(first_.get(), const char*), 100);
        if (place_by(**native) != place_by(**interpreted)) {
            std::fprintf(stderr, "machine code and interpreter differ\n");
            std::abort();
        }
        if (std::memcmp(&before, first_.get(), sizeof before) != 0 ||
            payload != std::string(rte_pktmbuf_mtod(first_.get(), const char*), 100)) {
            std::fprintf(stderr, "the program wrote to the packet\n");
            std::abort();
        }
    }

    /// What the program returns, if it is below 256.
    const udp::pcb* place_by(const udp::selector& s) const { return s.choose(members_, key_); }

    packet::pool pool_ = *packet::make_pool("programs", 15, 2048, SOCKET_ID_ANY, 0);
    packet::packet first_, second_;
    rcu_domain rcu_;
    udp::member_table members_{rcu_};
    std::list<plain_socket> sockets_;
    udp::lookup_key key_;
};

}  // namespace

}  // namespace skua::test

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    // Lives as long as the process: the EAL under it is not taken down in order.
    static auto* const group = new skua::test::target;
    group->run(data, size);
    return 0;
}
