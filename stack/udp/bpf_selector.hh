// A BPF program that names the member of a SO_REUSEPORT group (SO_ATTACH_REUSEPORT_CBPF, _EBPF), run by librte_bpf.
#pragma once

#include <linux/filter.h>

#include <cstddef>
#include <memory>
#include <span>

#include "base/result.hh"
#include "udp/selector.hh"

struct rte_bpf;
struct rte_bpf_prm;

namespace skua::udp {

/// What the program returns is the place of the member. It sees the payload of the datagram, as on Linux; a load beyond
/// its end ends the program with 0.
class bpf_selector final : public index_selector {
public:
    /// native: as machine code where librte_bpf can.
    enum class execution : std::uint8_t { native, interpreted };

    /// From classic BPF. Of Linux's ancillary loads it may use SKF_AD_CPU (the shard), SKF_AD_RXHASH, SKF_AD_PROTOCOL,
    /// SKF_AD_IFINDEX. Errors, as Linux: EINVAL no instructions, more than 4,096, or a program that is not sound;
    /// ENOMEM.
    static result<std::shared_ptr<const selector>> from_classic(std::span<const sock_filter> program,
                                                                execution how = execution::native);
    /// From extended BPF, as of Linux's type BPF_PROG_TYPE_SOCKET_FILTER: an ELF object or an array of instructions. It
    /// may read the fields of struct __sk_buff that bpf_context has, and load from the payload. There are no maps,
    /// helpers and loops. Errors, as of bpf(2): E2BIG more than 4,096 instructions; EINVAL not sound; EACCES see
    /// bind_context; ENOMEM.
    static result<std::shared_ptr<const selector>> from_extended(std::span<const std::byte> program,
                                                                 execution how = execution::native);

    std::string_view name() const override { return "bpf"; }
    /// What the program says of a packet; nothing: there is none.
    std::optional<std::uint32_t> index(const lookup_key& key) const override;

private:
    struct unload {
        void operator()(rte_bpf* b) const;
    };
    using handle = std::unique_ptr<rte_bpf, unload>;
    enum class language : std::uint8_t { classic, extended };
    bpf_selector(handle program, language l, execution how);
    static result<std::shared_ptr<const selector>> load(const rte_bpf_prm& what, language l, execution how);
    std::uint64_t run(void* context) const;

    const handle program_;
    const language language_;
    std::uint64_t (*native_)(void*) = nullptr;
};

}  // namespace skua::udp
