// A BPF program that names the member of a SO_REUSEPORT group (SO_ATTACH_REUSEPORT_CBPF), run by librte_bpf.
#pragma once

#include <linux/filter.h>

#include <memory>
#include <span>

#include "base/result.hh"
#include "udp/selector.hh"

struct rte_bpf;

namespace skua::udp {

/// What the program returns is the place of the member. It sees the payload of the datagram, as on Linux; a load beyond
/// its end ends the program with 0.
class bpf_selector final : public index_selector {
public:
    /// From classic BPF. Of Linux's ancillary loads it may use SKF_AD_CPU (the shard), SKF_AD_RXHASH, SKF_AD_PROTOCOL,
    /// SKF_AD_IFINDEX. Errors, as Linux: EINVAL no instructions, more than 4,096, or a program that is not sound;
    /// ENOMEM.
    static result<std::shared_ptr<const selector>> from_classic(std::span<const sock_filter> program);

    std::string_view name() const override { return "bpf"; }

private:
    struct unload {
        void operator()(rte_bpf* b) const;
    };
    using handle = std::unique_ptr<rte_bpf, unload>;
    explicit bpf_selector(handle program);
    std::optional<std::uint32_t> index(const lookup_key& key) const override;

    const handle program_;
    std::uint64_t (*native_)(void*) = nullptr;
};

}  // namespace skua::udp
