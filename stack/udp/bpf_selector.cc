// BPF made ready for librte_bpf.
//
// librte_bpf knows no ancillary loads. So a classic program sees a datagram with a few words in front of it, which hold
// what they would have loaded: loads of the packet are moved behind these words, ancillary ones and the length into
// them.
#include "udp/bpf_selector.hh"

#include <pcap/bpf.h>
#include <rte_bpf.h>
#include <rte_errno.h>
#include <rte_malloc.h>
#include <rte_mbuf.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <vector>

#include "base/byte_order.hh"
#include "udp/bpf_context.hh"
#include "udp/bpf_elf.hh"
#include "udp/tables.hh"

namespace skua::udp {

namespace {

struct front_words {
    be32 length, cpu, hash, protocol, ifindex;
};

constexpr std::uint32_t ancillary(std::uint32_t what) { return static_cast<std::uint32_t>(SKF_AD_OFF) + what; }

/// Where the word stands that an ancillary load asks for.
std::optional<std::uint32_t> front_word(std::uint32_t k) {
    switch (k) {
        case ancillary(SKF_AD_CPU): return offsetof(front_words, cpu);
        case ancillary(SKF_AD_RXHASH): return offsetof(front_words, hash);
        case ancillary(SKF_AD_PROTOCOL): return offsetof(front_words, protocol);
        case ancillary(SKF_AD_IFINDEX): return offsetof(front_words, ifindex);
        default: return {};
    }
}

/// Moves the loads of one instruction. False: it loads what is not there.
bool move_loads(bpf_insn& i) {
    if (BPF_CLASS(i.code) == BPF_LDX && BPF_MODE(i.code) == BPF_MSH) i.k += sizeof(front_words);
    if (BPF_CLASS(i.code) == BPF_LDX && BPF_MODE(i.code) == BPF_LEN) return false;
    if (BPF_CLASS(i.code) != BPF_LD) return true;
    switch (BPF_MODE(i.code)) {
        case BPF_LEN:
            i.code = BPF_LD | BPF_W | BPF_ABS;
            i.k = offsetof(front_words, length);
            return true;
        case BPF_IND: i.k += sizeof(front_words); return true;
        case BPF_ABS:
            if (const auto word = front_word(i.k)) i.k = *word;
            else if (i.k >= static_cast<std::uint32_t>(SKF_LL_OFF)) return false;
            else i.k += sizeof(front_words);
            return true;
        default: return true;
    }
}

/// What librte_bpf takes for granted and bpf_check_classic does not: forward jumps that stay inside, an end.
bool is_sound(std::span<const bpf_insn> program) {
    for (std::size_t at = 0; at < program.size(); at++) {
        const bpf_insn& i = program[at];
        const std::size_t room = program.size() - at - 1;
        switch (BPF_CLASS(i.code)) {
            case BPF_JMP:
                if (BPF_OP(i.code) == BPF_JA ? i.k >= room : i.jt >= room || i.jf >= room) return false;
                break;
            case BPF_ALU:
                if ((BPF_OP(i.code) == BPF_DIV || BPF_OP(i.code) == BPF_MOD) && BPF_SRC(i.code) == BPF_K && i.k == 0)
                    return false;
                break;
            case BPF_ST:
            case BPF_STX:
                if (i.k >= BPF_MEMWORDS) return false;
                break;
            case BPF_LD:
            case BPF_LDX:
                if (BPF_MODE(i.code) == BPF_MEM && i.k >= BPF_MEMWORDS) return false;
                break;
            default: break;
        }
    }
    return BPF_CLASS(program.back().code) == BPF_RET;
}

// "Experimental" since DPDK 20.11, and unchanged.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
rte_bpf_prm* convert(const bpf_program& classic) { return rte_bpf_convert(&classic); }
#pragma GCC diagnostic pop

/// DPDK's compiler for x86 encodes "jump if bits are set" with a constant of one byte wrongly (TEST has no such form):
/// the processor would take the next instruction for a part of the constant.
bool compiles_right(const rte_bpf_prm& p) {
    return std::ranges::none_of(std::span(p.ins, p.nb_ins), [](const ebpf_insn& i) {
        return i.code == (BPF_JMP | BPF_JSET | BPF_K) && i.imm >= INT8_MIN && i.imm <= INT8_MAX;
    });
}

struct converted_delete {
    void operator()(rte_bpf_prm* p) const { rte_free(p); }
};

}  // namespace

void bpf_selector::unload::operator()(rte_bpf* b) const { rte_bpf_destroy(b); }

bpf_selector::bpf_selector(handle program, language l, execution how) : program_(std::move(program)), language_(l) {
    rte_bpf_jit jit{};
    if (how == execution::native && rte_bpf_get_jit(program_.get(), &jit) == 0) native_ = jit.func;
}

result<std::shared_ptr<const selector>> bpf_selector::load(const rte_bpf_prm& what, language l, execution how) {
    handle loaded(rte_bpf_load(&what));
    if (!loaded) return fail(rte_errno == ENOMEM ? ENOMEM : EINVAL);
    const execution sound = compiles_right(what) ? how : execution::interpreted;
    return std::shared_ptr<const selector>(new bpf_selector(std::move(loaded), l, sound));
}

result<std::shared_ptr<const selector>> bpf_selector::from_classic(std::span<const sock_filter> program,
                                                                          execution how) {
    if (program.empty() || program.size() > BPF_MAXINSNS) return fail(EINVAL);
    std::vector<bpf_insn> moved;
    for (const sock_filter& f : program) {
        moved.push_back({f.code, f.jt, f.jf, f.k});
        if (!move_loads(moved.back())) return fail(EINVAL);
    }
    if (!is_sound(moved)) return fail(EINVAL);
    const bpf_program whole{static_cast<unsigned>(moved.size()), moved.data()};
    const std::unique_ptr<rte_bpf_prm, converted_delete> converted(convert(whole));
    if (!converted) return fail(rte_errno == ENOMEM ? ENOMEM : EINVAL);
    return load(*converted, language::classic, how);
}

result<std::shared_ptr<const selector>> bpf_selector::from_extended(std::span<const std::byte> program,
                                                                           execution how) {
    if (is_elf(program)) {
        const auto inside = program_in_elf(program);
        if (!inside) return fail(inside.error().code);
        program = *inside;
    }
    if (program.empty() || program.size() % sizeof(ebpf_insn) != 0) return fail(EINVAL);
    std::vector<ebpf_insn> instructions(program.size() / sizeof(ebpf_insn));
    if (instructions.size() > BPF_MAXINSNS) return fail(E2BIG);
    std::memcpy(instructions.data(), program.data(), program.size());
    if (const auto bound = bind_context(instructions); !bound) return fail(bound.error().code);
    rte_bpf_prm what{};
    what.ins = instructions.data();
    what.nb_ins = static_cast<std::uint32_t>(instructions.size());
    what.prog_arg = {RTE_BPF_ARG_PTR_MBUF, sizeof(bpf_context), RTE_MBUF_DEFAULT_BUF_SIZE};
    return load(what, language::extended, how);
}

std::uint64_t bpf_selector::run(void* context) const {
    return native_ ? native_(context) : rte_bpf_exec(program_.get(), context);
}

std::optional<std::uint32_t> bpf_selector::index(const lookup_key& key) const {
    if (key.packet == nullptr || key.packet->data_len < key.payload) return {};
    if (language_ == language::extended) {
        bpf_context context(key);
        return static_cast<std::uint32_t>(run(&context));
    }
    // The datagram again, from its payload on, behind a segment with the words.
    rte_mbuf payload = *key.packet;
    payload.data_off = static_cast<std::uint16_t>(payload.data_off + key.payload);
    payload.data_len = static_cast<std::uint16_t>(payload.data_len - key.payload);
    const std::uint32_t length = key.packet->pkt_len - key.payload;
    front_words words{be32(length), be32(std::uint32_t(key.shard)), be32(key.hash),
                      be32(std::uint32_t(key.flow.local.is_v4() ? 0x0800 : 0x86dd)), be32(key.ifindex)};
    rte_mbuf front{};
    front.buf_addr = &words;
    front.data_len = sizeof words;
    front.nb_segs = static_cast<std::uint16_t>(payload.nb_segs + 1);
    front.pkt_len = length + static_cast<std::uint32_t>(sizeof words);
    front.next = &payload;
    return static_cast<std::uint32_t>(run(&front));
}

}  // namespace skua::udp
