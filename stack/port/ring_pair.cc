// Making and removing ports in memory.
#include "port/ring_pair.hh"

#include <fmt/format.h>
#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_eth_ring.h>
#include <rte_mbuf.h>
#include <rte_memory.h>

#include <bit>

namespace skua::port {

void ring_delete::operator()(rte_ring* r) const {
    void* left = nullptr;
    while (rte_ring_dequeue(r, &left) == 0) rte_pktmbuf_free(static_cast<rte_mbuf*>(left));
    rte_ring_free(r);
}

ring_device::~ring_device() {
    if (!name_.empty()) rte_eal_hotplug_remove("vdev", ("net_ring_" + name_).c_str());
}

namespace {

using made_rings = tl::expected<rings, std::string>;
using made_device = tl::expected<ring_device, std::string>;

std::string unfit(const std::string& name, std::uint16_t queues, unsigned size) {
    if (name.empty() || name.size() > ring_name_max)
        return fmt::format("a name of 1 to {} characters is needed, not \"{}\"", ring_name_max, name);
    if (queues == 0 || queues > ring_queues_max) return fmt::format("1 to {} queues, not {}", ring_queues_max, queues);
    if (size < 2 || !std::has_single_bit(size)) return fmt::format("a ring's size is a power of two, not {}", size);
    return {};
}

made_rings make_rings(const std::string& name, std::uint16_t queues, unsigned size) {
    rings made;
    for (std::uint16_t q = 0; q < queues; q++) {
        const std::string own = fmt::format("{}_{}", name, q);
        made.emplace_back(rte_ring_create(own.c_str(), size, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ));
        if (!made.back()) return tl::unexpected(fmt::format("ring {}: {}", own, rte_strerror(rte_errno)));
    }
    return made;
}

made_device make_device(const std::string& name, const rings& rx, const rings& tx) {
    std::vector<rte_ring*> in, out;
    for (const auto& r : rx) in.push_back(r.get());
    for (const auto& r : tx) out.push_back(r.get());
    const int id = rte_eth_from_rings(name.c_str(), in.data(), static_cast<unsigned>(in.size()), out.data(),
                                      static_cast<unsigned>(out.size()), 0);
    if (id < 0 || id >= RTE_MAX_ETHPORTS)
        return tl::unexpected(fmt::format("device {}: {}", name, rte_strerror(rte_errno)));
    return ring_device(name, static_cast<std::uint16_t>(id));
}

}  // namespace

tl::expected<std::unique_ptr<ring_pair>, std::string> ring_pair::make(const std::string& name, std::uint16_t queues,
                                                                      unsigned size) {
    if (std::string why = unfit(name, queues, size); !why.empty()) return tl::unexpected(std::move(why));
    auto a_to_b = make_rings(name + "_ab", queues, size);
    if (!a_to_b) return tl::unexpected(a_to_b.error());
    auto b_to_a = make_rings(name + "_ba", queues, size);
    if (!b_to_a) return tl::unexpected(b_to_a.error());
    auto a = make_device(name + "_a", *b_to_a, *a_to_b);
    if (!a) return tl::unexpected(a.error());
    auto b = make_device(name + "_b", *a_to_b, *b_to_a);
    if (!b) return tl::unexpected(b.error());
    return std::unique_ptr<ring_pair>(
        new ring_pair(std::move(*a_to_b), std::move(*b_to_a), std::move(*a), std::move(*b)));
}

tl::expected<std::unique_ptr<ring_wire>, std::string> ring_wire::make(const std::string& name, std::uint16_t queues,
                                                                      unsigned size) {
    if (std::string why = unfit(name, queues, size); !why.empty()) return tl::unexpected(std::move(why));
    auto to_port = make_rings(name + "_in", queues, size);
    if (!to_port) return tl::unexpected(to_port.error());
    auto from_port = make_rings(name + "_out", queues, size);
    if (!from_port) return tl::unexpected(from_port.error());
    auto device = make_device(name, *to_port, *from_port);
    if (!device) return tl::unexpected(device.error());
    return std::unique_ptr<ring_wire>(new ring_wire(std::move(*to_port), std::move(*from_port), std::move(*device)));
}

bool ring_wire::inject(std::uint16_t queue, rte_mbuf* m) { return rte_ring_enqueue(to_port_[queue].get(), m) == 0; }

rte_mbuf* ring_wire::collect(std::uint16_t queue) {
    void* m = nullptr;
    return rte_ring_dequeue(from_port_[queue].get(), &m) == 0 ? static_cast<rte_mbuf*>(m) : nullptr;
}

}  // namespace skua::port
