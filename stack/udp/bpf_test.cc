// BPF programs that choose: classic ones, extended ones, and those that are refused.
#include <gelf.h>
#include <gtest/gtest.h>
#include <libelf.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>

#include "udp/bpf_elf.hh"
#include "udp/bpf_selector.hh"
#include "udp/selector_fixture.hh"

namespace skua::udp {
namespace {

/// An instruction of extended BPF, as in linux/bpf.h (whose macros collide with those of linux/filter.h).
struct insn {
    std::uint8_t code;
    std::uint8_t registers;
    std::int16_t off = 0;
    std::int32_t imm = 0;
};
constexpr std::uint8_t regs(unsigned to, unsigned from = 0) { return static_cast<std::uint8_t>(to | from << 4); }
constexpr insn move(unsigned to, unsigned from) { return {0xbf, regs(to, from)}; }
constexpr insn move_constant(unsigned to, std::int32_t k) { return {0xb7, regs(to), 0, k}; }
constexpr insn load_word(unsigned to, unsigned from, std::int16_t off) { return {0x61, regs(to, from), off}; }
constexpr insn load_half(unsigned to, unsigned from, std::int16_t off) { return {0x69, regs(to, from), off}; }
constexpr insn load_byte(unsigned to, unsigned from, std::int16_t off) { return {0x71, regs(to, from), off}; }
constexpr insn store_word(unsigned to, std::int16_t off, unsigned from) { return {0x63, regs(to, from), off}; }
constexpr insn store_pointer(unsigned to, std::int16_t off, unsigned from) { return {0x7b, regs(to, from), off}; }
constexpr insn packet_byte(std::int32_t at) { return {0x30, 0, 0, at}; }
constexpr insn modulo(unsigned to, std::int32_t k) { return {0x97, regs(to), 0, k}; }
constexpr insn add(unsigned to, std::int32_t k) { return {0x07, regs(to), 0, k}; }
constexpr insn jump_if_equal(unsigned to, std::int32_t k, std::int16_t off) { return {0x15, regs(to), off, k}; }
constexpr insn jump(std::int16_t off) { return {0x05, 0, off}; }
constexpr insn call(std::int32_t helper) { return {0x85, 0, 0, helper}; }
constexpr insn leave{0x95, 0};
// Places in struct __sk_buff.
constexpr std::int16_t sk_len = 0, sk_queue = 12, sk_protocol = 16, sk_cb = 48, sk_hash = 68, sk_data = 76,
                       sk_family = 88, sk_remote_ip4 = 92, sk_remote_ip6 = 100, sk_remote_port = 132,
                       sk_local_port = 136;

using program = std::vector<insn>;

std::span<const std::byte> bytes_of(const program& p) { return std::as_bytes(std::span(p)); }

struct section {
    std::string name;
    program code;
    bool refers = false;  // has a relocation
};

/// An object as a compiler writes it.
std::vector<std::byte> elf_of(std::vector<section> sections, unsigned machine = EM_BPF) {
    std::string names("\0.shstrtab\0", 11);
    EXPECT_NE(elf_version(EV_CURRENT), unsigned(EV_NONE));
    const int fd = memfd_create("object", 0);
    Elf* const elf = elf_begin(fd, ELF_C_WRITE, nullptr);
    auto* const head = elf64_newehdr(elf);
    head->e_ident[EI_DATA] = ELFDATA2LSB;
    head->e_machine = static_cast<Elf64_Half>(machine);
    head->e_type = ET_REL;
    const auto add_section = [&](const std::string& name, unsigned type, unsigned flags, void* data, std::size_t size) {
        Elf_Scn* const s = elf_newscn(elf);
        Elf_Data* const d = elf_newdata(s);
        d->d_buf = data;
        d->d_size = size;
        d->d_align = 8;
        auto* const h = elf64_getshdr(s);
        h->sh_name = static_cast<Elf64_Word>(names.size());
        h->sh_type = type;
        h->sh_flags = flags;
        names += name + '\0';
        return s;
    };
    static Elf64_Rel reference{};
    for (auto& s : sections) {
        Elf_Scn* const at =
            add_section(s.name, SHT_PROGBITS, SHF_ALLOC | SHF_EXECINSTR, s.code.data(), s.code.size() * sizeof(insn));
        if (s.refers)
            elf64_getshdr(add_section(".rel" + s.name, SHT_REL, 0, &reference, sizeof reference))->sh_info =
                static_cast<Elf64_Word>(elf_ndxscn(at));
    }
    Elf_Scn* const last = elf_newscn(elf);
    Elf_Data* const text = elf_newdata(last);
    text->d_buf = names.data();
    text->d_size = names.size();
    elf64_getshdr(last)->sh_type = SHT_STRTAB;
    elf64_getshdr(last)->sh_name = 1;
    head->e_shstrndx = static_cast<Elf64_Half>(elf_ndxscn(last));
    const auto size = elf_update(elf, ELF_C_WRITE);
    EXPECT_GT(size, 0) << elf_errmsg(-1);
    elf_end(elf);
    std::vector<std::byte> out(static_cast<std::size_t>(size));
    EXPECT_EQ(pread(fd, out.data(), out.size(), 0), size);
    close(fd);
    return out;
}

class bpf_test : public selector_test {
protected:
    int attach_classic(std::vector<sock_filter> program) {
        auto made = bpf_selector::from_classic(program);
        if (!made) return made.error().code;
        const auto ok = bound.attach(sockets.front(), *made);
        return ok ? 0 : ok.error().code;
    }
    int attach_extended(std::span<const std::byte> text) {
        auto made = bpf_selector::from_extended(text);
        if (!made) return made.error().code;
        const auto ok = bound.attach(sockets.front(), *made);
        return ok ? 0 : ok.error().code;
    }
    int attach(const program& p) { return attach_extended(bytes_of(p)); }
};

TEST_F(bpf_test, classic_returns_a_place) {
    ASSERT_EQ(attach_classic({BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 1), BPF_STMT(BPF_RET | BPF_A, 0)}), 0);
    payload(std::string_view("x\3", 2));
    EXPECT_EQ(chosen(), 3u);
    payload(std::string_view("x\1", 2));
    EXPECT_EQ(chosen(), 1u);
    payload("x");  // a load beyond the end ends the program with 0
    EXPECT_EQ(chosen(0xffffffff), 0u);
    EXPECT_EQ(fallbacks(), 0u);
    payload(std::string_view("x\4", 2));
    EXPECT_LT(chosen(), 4u);
    EXPECT_EQ(fallbacks(), 1u);
}

TEST_F(bpf_test, classic_sees_shard_length_and_hash) {
    payload("abc");
    ASSERT_EQ(attach_classic({BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<std::uint32_t>(SKF_AD_OFF + SKF_AD_CPU)),
                              BPF_STMT(BPF_RET | BPF_A, 0)}),
              0);
    auto k = key();
    k.shard = 2;
    EXPECT_EQ(place(bound.lookup(k)), 2u);
    ASSERT_EQ(attach_classic({BPF_STMT(BPF_LD | BPF_W | BPF_LEN, 0), BPF_STMT(BPF_RET | BPF_A, 0)}), 0);
    EXPECT_EQ(chosen(), 3u);
    ASSERT_EQ(
        attach_classic({BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<std::uint32_t>(SKF_AD_OFF + SKF_AD_RXHASH)),
                        BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, 4), BPF_STMT(BPF_RET | BPF_A, 0)}),
        0);
    EXPECT_EQ(chosen(1001), 1u);
    // Indirect: the byte at the offset that the first byte gives.
    payload(std::string_view("\2x\3", 3));
    ASSERT_EQ(attach_classic({BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0), BPF_STMT(BPF_MISC | BPF_TAX, 0),
                              BPF_STMT(BPF_LD | BPF_B | BPF_IND, 0), BPF_STMT(BPF_RET | BPF_A, 0)}),
              0);
    EXPECT_EQ(chosen(), 3u);
}

TEST_F(bpf_test, unsound_classic_is_refused) {
    EXPECT_EQ(attach_classic({}), EINVAL);
    EXPECT_EQ(attach_classic(std::vector<sock_filter>(4097, BPF_STMT(BPF_RET | BPF_K, 0))), EINVAL);
    EXPECT_EQ(attach_classic({BPF_STMT(BPF_LD | BPF_IMM, 1)}), EINVAL) << "no end";
    EXPECT_EQ(attach_classic({BPF_JUMP(BPF_JMP | BPF_JA, 5, 0, 0), BPF_STMT(BPF_RET | BPF_K, 0)}), EINVAL);
    EXPECT_EQ(attach_classic({BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0), BPF_STMT(BPF_RET | BPF_K, 0)}), EINVAL);
    EXPECT_EQ(attach_classic({BPF_STMT(BPF_ALU | BPF_DIV | BPF_K, 0), BPF_STMT(BPF_RET | BPF_K, 0)}), EINVAL);
    EXPECT_EQ(attach_classic({BPF_STMT(BPF_ST, BPF_MEMWORDS), BPF_STMT(BPF_RET | BPF_K, 0)}), EINVAL);
    EXPECT_EQ(attach_classic({BPF_STMT(0xffff, 0), BPF_STMT(BPF_RET | BPF_K, 0)}), EINVAL);
}

TEST_F(bpf_test, extended_reads_the_payload) {
    ASSERT_EQ(attach({move(6, 1), packet_byte(1), leave}), 0);
    payload(std::string_view("x\3", 2));
    EXPECT_EQ(chosen(), 3u);
    payload(std::string_view("x\1", 2));
    EXPECT_EQ(chosen(), 1u);
    payload("x");  // a load beyond the end ends the program with 0
    EXPECT_EQ(chosen(0xffffffff), 0u);
    EXPECT_EQ(fallbacks(), 0u);
    payload(std::string_view("x\4", 2));
    EXPECT_LT(chosen(), 4u);
    EXPECT_EQ(fallbacks(), 1u);
}

TEST_F(bpf_test, extended_reads_the_fields_of_sk_buff) {
    payload("abc");
    const auto value = [&](insn load) -> std::uint32_t {
        // The four members tell two bits at a time.
        std::uint32_t all = 0;
        for (int shift = 0; shift < 32; shift += 2) {
            EXPECT_EQ(attach({load, {0x77, regs(0), 0, shift}, {0x57, regs(0), 0, 3}, leave}), 0);
            auto k = key(0x12345678);
            k.shard = 2;
            all |= static_cast<std::uint32_t>(place(bound.lookup(k))) << shift;
        }
        return all;
    };
    EXPECT_EQ(value(load_word(0, 1, sk_len)), 3u);
    EXPECT_EQ(value(load_word(0, 1, sk_queue)), 2u);
    EXPECT_EQ(value(load_word(0, 1, sk_protocol)), 0x0008u);  // 0x0800 in network order
    EXPECT_EQ(value(load_word(0, 1, sk_hash)), 0x12345678u);
    EXPECT_EQ(value(load_half(0, 1, sk_hash + 2)), 0x1234u);
    EXPECT_EQ(value(load_byte(0, 1, sk_hash)), 0x78u);
    EXPECT_EQ(value(load_word(0, 1, sk_family)), 2u);
    EXPECT_EQ(value(load_word(0, 1, sk_remote_ip4)), 0x0900000au);  // 10.0.0.9 in network order
    EXPECT_EQ(value(load_word(0, 1, sk_remote_ip6 + 12)), 0x0900000au);
    EXPECT_EQ(value(load_word(0, 1, sk_remote_port)), 0xe703u);  // 999 in network order
    EXPECT_EQ(value(load_word(0, 1, sk_local_port)), test_port);
}

TEST_F(bpf_test, extended_may_branch_and_use_its_stack) {
    payload(std::string_view("\7", 1));
    ASSERT_EQ(attach({move(6, 1), packet_byte(0), store_word(10, -4, 0), load_word(2, 10, -4), move_constant(0, 1),
                      jump_if_equal(2, 7, 1), leave, load_word(0, 6, sk_hash), modulo(0, 4), leave}),
              0);
    EXPECT_EQ(chosen(1003), 3u);
    payload(std::string_view("\6", 1));
    EXPECT_EQ(chosen(1003), 1u);
}

TEST_F(bpf_test, bits_of_a_small_constant_are_tested) {
    for (const char first : {'\4', '\5'}) {
        payload(std::string(1, first));
        const std::size_t wanted = first & 1 ? 2 : 1;
        ASSERT_EQ(attach({move(6, 1), packet_byte(0), {0x45, regs(0), 2, 1}, move_constant(0, 1), leave,
                          move_constant(0, 2), leave}),
                  0);
        EXPECT_EQ(chosen(), wanted);
        ASSERT_EQ(attach_classic({BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0), BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 1, 1, 0),
                                  BPF_STMT(BPF_RET | BPF_K, 1), BPF_STMT(BPF_RET | BPF_K, 2)}),
                  0);
        EXPECT_EQ(chosen(), wanted);
    }
}

TEST_F(bpf_test, the_context_is_for_reading_its_fields_only) {
    const insn zero = move_constant(0, 0);
    const std::pair<const char*, program> refused[] = {
        {"write", {zero, store_word(1, sk_hash, 0), leave}},
        {"write by a copy", {zero, move(3, 1), store_word(3, sk_cb, 0), leave}},
        {"write a constant", {zero, {0x62, regs(1), 0, 1}, leave}},
        {"add atomically", {zero, {0xc3, regs(1, 0), 0, 0}, leave}},
        {"arithmetic", {zero, add(1, 4), load_word(0, 1, 0), leave}},
        {"arithmetic on a number with it", {zero, {0x0f, regs(0, 1)}, leave}},
        {"half of it", {{0xbc, regs(2, 1)}, zero, leave}},
        {"spill", {zero, store_pointer(10, -8, 1), leave}},
        {"return it", {move(0, 1), leave}},
        {"compare", {zero, jump_if_equal(1, 0, 1), zero, leave}},
        {"a field that is not there", {load_word(0, 1, sk_cb), leave}},
        {"a pointer to the packet", {load_word(0, 1, sk_data), leave}},
        {"over the end of a field", {load_word(0, 1, sk_len + 2), leave}},
        {"eight bytes of four", {{0x79, regs(0, 1), sk_hash}, leave}},
        {"before it", {load_word(0, 1, -4), leave}},
        {"on one way only", {zero, load_word(3, 1, 0), move_constant(2, 0), jump_if_equal(3, 1, 1), move(2, 1),
                             load_word(0, 2, 0), leave}},
        {"payload without it", {packet_byte(0), leave}},
        {"payload without it any more", {move(6, 1), move_constant(6, 1), packet_byte(0), leave}},
    };
    for (const auto& [what, p] : refused) EXPECT_EQ(attach(p), EACCES) << what;
}

TEST_F(bpf_test, unsound_extended_is_refused) {
    const insn zero = move_constant(0, 0);
    const std::pair<const char*, program> refused[] = {
        {"empty", {}},
        {"no end", {zero}},
        {"a loop", {zero, jump(-1), leave}},
        {"a jump behind the end", {zero, jump(1), leave}},
        {"into nothing", {zero, jump_if_equal(0, 0, 7), leave}},
        {"never reached", {zero, leave, zero, leave}},
        {"a helper", {call(7), leave}},
        {"a map", {{0x18, regs(2, 1), 0, 3}, {0, 0, 0, 0}, zero, leave}},
        {"half of a wide one", {zero, {0x18, regs(2), 0, 3}}},
        {"a register that is not there", {{0xb7, 0xb, 0, 0}, leave}},
        {"no such instruction", {zero, {0xff, 0, 0, 0}, leave}},
        {"a register never set", {move(0, 4), leave}},
        {"beyond the stack", {zero, store_word(10, -516, 0), leave}},
        {"32-bit jumps", {zero, {0x16, regs(0), 0, 0}, leave}},
    };
    for (const auto& [what, p] : refused) EXPECT_EQ(attach(p), EINVAL) << what;
    program long_one(4097, zero);
    long_one.back() = leave;
    EXPECT_EQ(attach(long_one), E2BIG);
    EXPECT_EQ(attach_extended(bytes_of({zero, leave}).first(12)), EINVAL);
    EXPECT_EQ(attach({zero, leave}), 0);
}

TEST_F(bpf_test, a_program_comes_in_an_elf_object) {
    const program second = {move_constant(0, 2), leave}, third = {move_constant(0, 3), leave};
    payload("x");
    ASSERT_EQ(attach_extended(elf_of({{".text", second}})), 0);
    EXPECT_EQ(chosen(), 2u);
    ASSERT_EQ(attach_extended(elf_of({{".text", second}, {"socket/choose", third}})), 0);
    EXPECT_EQ(chosen(), 3u);
}

TEST_F(bpf_test, objects_without_one_program_are_refused) {
    const program some = {move_constant(0, 2), leave};
    EXPECT_EQ(attach_extended(elf_of({{".text", some}, {"xdp", some}})), EINVAL) << "which?";
    EXPECT_EQ(attach_extended(elf_of({{"socket1", some}, {"socket2", some}})), EINVAL) << "which?";
    EXPECT_EQ(attach_extended(elf_of({})), EINVAL) << "none";
    EXPECT_EQ(attach_extended(elf_of({{"socket", some, true}})), EINVAL) << "refers to a map";
    EXPECT_EQ(attach_extended(elf_of({{"socket", some}}, EM_X86_64)), EINVAL) << "for another machine";
    const auto whole = elf_of({{"socket", some}});
    for (std::size_t n = 0; n < whole.size(); n++) {
        const auto made = bpf_selector::from_extended(std::span(whole).first(n));
        EXPECT_FALSE(made) << n << " of " << whole.size() << " bytes";
    }
}

}  // namespace
}  // namespace skua::udp
