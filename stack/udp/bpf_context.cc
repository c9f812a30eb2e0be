// Following the pointer to the context through a program (Linux: check_ctx_access, convert_ctx_access).
#include "udp/bpf_context.hh"

#include <arpa/inet.h>
#include <rte_bpf.h>

#include <cstring>
#include <vector>

#include "udp/tables.hh"

namespace skua::udp {

namespace {

/// A field of __sk_buff (linux/bpf.h, whose macros collide with DPDK's) and where it stands here.
struct field {
    std::uint16_t theirs, ours, bytes;
};

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Winvalid-offsetof"
constexpr field fields[] = {
    {0, offsetof(bpf_context, length), 4},       {4, offsetof(bpf_context, packet_type), 4},
    {8, offsetof(bpf_context, mark), 4},         {12, offsetof(bpf_context, queue), 4},
    {16, offsetof(bpf_context, protocol), 4},    {32, offsetof(bpf_context, priority), 4},
    {36, offsetof(bpf_context, ifindex), 4},     {40, offsetof(bpf_context, ifindex), 4},
    {68, offsetof(bpf_context, hash), 4},        {88, offsetof(bpf_context, family), 4},
    {92, offsetof(bpf_context, remote_v4), 4},   {96, offsetof(bpf_context, local_v4), 4},
    {100, offsetof(bpf_context, remote_v6), 16}, {116, offsetof(bpf_context, local_v6), 16},
    {132, offsetof(bpf_context, remote_port), 4}, {136, offsetof(bpf_context, local_port), 4},
};
#pragma GCC diagnostic pop

constexpr unsigned bytes_of(std::uint8_t code) {
    switch (BPF_SIZE(code)) {
        case BPF_W: return 4;
        case BPF_H: return 2;
        case BPF_B: return 1;
        default: return 8;
    }
}

/// Which registers may hold the context, and which surely do.
struct holders {
    std::uint16_t may = 0, must = 0;
    void set(unsigned to, const holders& from, unsigned r) {
        put(may, to, from.may >> r & 1);
        put(must, to, from.must >> r & 1);
    }
    void forget(unsigned r) { set(r, {}, 0); }
    bool maybe(unsigned r) const { return may >> r & 1; }
    bool surely(unsigned r) const { return must >> r & 1; }

private:
    static void put(std::uint16_t& mask, unsigned r, bool on) {
        mask = static_cast<std::uint16_t>((mask & ~(1u << r)) | (unsigned(on) << r));
    }
};

/// Since programs have no loops, every way to an instruction is known when it is reached.
class walk {
public:
    explicit walk(std::span<ebpf_insn> program) : program_(program), before_(program.size()) {}

    result<void> run() {
        before_[0] = {true, {1u << EBPF_REG_1, 1u << EBPF_REG_1}};
        for (std::size_t i = 0; i < program_.size(); i++) {
            // Not to be reached: librte_bpf refuses such programs.
            if (!before_[i].reached) continue;
            holders now = before_[i].at;
            bool wide = false;
            if (const int e = step(program_[i], now, wide); e != 0) return fail(e);
            if (wide && ++i == program_.size()) return fail(EINVAL);
            if (const int e = go_on(i, program_[wide ? i - 1 : i], now); e != 0) return fail(e);
        }
        return {};
    }

private:
    struct place {
        bool reached = false;
        holders at;
    };

    static int step(ebpf_insn& n, holders& h, bool& wide) {
        if (n.dst_reg >= EBPF_REG_NUM || n.src_reg >= EBPF_REG_NUM) return EINVAL;
        switch (BPF_CLASS(n.code)) {
            case BPF_LDX: return load(n, h);
            case BPF_ST: return h.maybe(n.dst_reg) ? EACCES : 0;
            case BPF_STX: return h.maybe(n.dst_reg) || h.maybe(n.src_reg) ? EACCES : 0;
            case BPF_LD:
                if (BPF_MODE(n.code) == BPF_IMM) {
                    wide = true;
                    if (n.src_reg != 0) return EINVAL;  // a map
                    h.forget(n.dst_reg);
                    return 0;
                }
                if (!h.surely(EBPF_REG_6) || (BPF_MODE(n.code) == BPF_IND && h.maybe(n.src_reg))) return EACCES;
                for (unsigned r = EBPF_REG_0; r <= EBPF_REG_5; r++) h.forget(r);
                return 0;
            case BPF_ALU:
            case EBPF_ALU64: return calculate(n, h);
            default: return jump(n, h);
        }
    }

    static int load(ebpf_insn& n, holders& h) {
        if (h.maybe(n.src_reg)) {
            if (!h.surely(n.src_reg) || !rewrite(n)) return EACCES;
        }
        h.forget(n.dst_reg);
        return 0;
    }

    static bool rewrite(ebpf_insn& n) {
        for (const field& f : fields) {
            const int into = n.off - f.theirs;
            if (into < 0 || into + static_cast<int>(bytes_of(n.code)) > f.bytes) continue;
            n.off = static_cast<std::int16_t>(f.ours + into);
            return true;
        }
        return false;
    }

    static int calculate(const ebpf_insn& n, holders& h) {
        const bool by_register = BPF_SRC(n.code) == BPF_X && BPF_OP(n.code) != EBPF_END && BPF_OP(n.code) != BPF_NEG;
        if (BPF_OP(n.code) == EBPF_MOV) {
            if (!by_register) h.forget(n.dst_reg);
            else if (BPF_CLASS(n.code) == EBPF_ALU64) h.set(n.dst_reg, h, n.src_reg);
            else if (h.maybe(n.src_reg)) return EACCES;
            else h.forget(n.dst_reg);
            return 0;
        }
        return h.maybe(n.dst_reg) || (by_register && h.maybe(n.src_reg)) ? EACCES : 0;
    }

    static int jump(const ebpf_insn& n, const holders& h) {
        if (BPF_CLASS(n.code) != BPF_JMP || BPF_OP(n.code) == EBPF_CALL) return EINVAL;
        if (BPF_OP(n.code) == EBPF_EXIT) return h.maybe(EBPF_REG_0) ? EACCES : 0;
        if (n.off < 0) return EINVAL;
        if (BPF_OP(n.code) == BPF_JA) return 0;
        return h.maybe(n.dst_reg) || (BPF_SRC(n.code) == BPF_X && h.maybe(n.src_reg)) ? EACCES : 0;
    }

    /// To the instructions that may come after the one that ends at `i`.
    int go_on(std::size_t i, const ebpf_insn& n, const holders& h) {
        const bool jumps = BPF_CLASS(n.code) == BPF_JMP;
        if (jumps && BPF_OP(n.code) == EBPF_EXIT) return 0;
        if (jumps && !reach(i + 1 + static_cast<std::size_t>(n.off), h)) return EINVAL;
        if (jumps && BPF_OP(n.code) == BPF_JA) return 0;
        return reach(i + 1, h) ? 0 : EINVAL;
    }

    bool reach(std::size_t i, const holders& h) {
        if (i >= program_.size()) return false;
        place& p = before_[i];
        p.at = p.reached ? holders_of(p.at, h) : h;
        p.reached = true;
        return true;
    }
    static holders holders_of(const holders& a, const holders& b) {
        holders both;
        both.may = a.may | b.may;
        both.must = a.must & b.must;
        return both;
    }

    const std::span<ebpf_insn> program_;
    std::vector<place> before_;
};

}  // namespace

bpf_context::bpf_context(const lookup_key& key)
    : payload(*key.packet),
      length(key.packet->pkt_len - key.payload),
      packet_type(0),
      mark(0),
      queue(key.shard),
      protocol(htons(key.flow.local.is_v4() ? 0x0800 : 0x86dd)),
      priority(0),
      ifindex(key.ifindex),
      hash(key.hash),
      family(key.flow.local.is_v4() ? 2 : 10),
      remote_port(htons(key.flow.remote_port)),
      local_port(key.flow.local_port) {
    payload.data_off = static_cast<std::uint16_t>(payload.data_off + key.payload);
    payload.data_len = static_cast<std::uint16_t>(payload.data_len - key.payload);
    payload.pkt_len = length;
    std::memcpy(remote_v6, key.flow.remote.bytes().data(), sizeof remote_v6);
    std::memcpy(local_v6, key.flow.local.bytes().data(), sizeof local_v6);
    remote_v4 = remote_v6[3];
    local_v4 = local_v6[3];
    if (family == 2) return;
    remote_v4 = local_v4 = 0;
}

result<void> bind_context(std::span<ebpf_insn> program) {
    if (program.empty()) return fail(EINVAL);
    return walk(program).run();
}

}  // namespace skua::udp
