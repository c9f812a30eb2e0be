// Reading sections, by libelf.
#include "udp/bpf_elf.hh"

#include <gelf.h>
#include <libelf.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

namespace skua::udp {

namespace {

struct closing {
    void operator()(Elf* e) const { elf_end(e); }
};

struct code_section {
    std::size_t index;
    std::string_view name;
    std::span<const std::byte> bytes;
};

bool named_for_sockets(const code_section& s) {
    return s.name.starts_with("socket") || s.name.starts_with("sk_reuseport");
}

}  // namespace

bool is_elf(std::span<const std::byte> bytes) {
    return bytes.size() >= SELFMAG && std::memcmp(bytes.data(), ELFMAG, SELFMAG) == 0;
}

result<std::span<const std::byte>> program_in_elf(std::span<const std::byte> object) {
    if (elf_version(EV_CURRENT) == EV_NONE) return fail(EINVAL);
    // libelf only reads it.
    auto* const bytes = const_cast<char*>(reinterpret_cast<const char*>(object.data()));
    const std::unique_ptr<Elf, closing> elf(elf_memory(bytes, object.size()));
    GElf_Ehdr head;
    std::size_t names = 0;
    if (!elf || gelf_getehdr(elf.get(), &head) == nullptr || head.e_machine != EM_BPF || head.e_type != ET_REL ||
        head.e_ident[EI_DATA] != ELFDATA2LSB || elf_getshdrstrndx(elf.get(), &names) != 0)
        return fail(EINVAL);

    std::vector<code_section> code;
    std::vector<std::size_t> referring;  // sections with references to outside
    for (Elf_Scn* s = elf_nextscn(elf.get(), nullptr); s; s = elf_nextscn(elf.get(), s)) {
        GElf_Shdr section;
        if (gelf_getshdr(s, &section) == nullptr) return fail(EINVAL);
        if ((section.sh_type == SHT_REL || section.sh_type == SHT_RELA) && section.sh_size != 0)
            referring.push_back(section.sh_info);
        if (section.sh_type != SHT_PROGBITS || !(section.sh_flags & SHF_EXECINSTR) || section.sh_size == 0) continue;
        const Elf_Data* const data = elf_getdata(s, nullptr);
        const char* const name = elf_strptr(elf.get(), names, section.sh_name);
        if (data == nullptr || data->d_buf == nullptr || name == nullptr) return fail(EINVAL);
        const auto* const from = static_cast<const std::byte*>(data->d_buf);
        // Read in place, so that what is given back lives as long as the object.
        if (from < object.data() || from + data->d_size > object.data() + object.size()) return fail(EINVAL);
        code.push_back({elf_ndxscn(s), name, {from, data->d_size}});
    }
    if (code.size() > 1) std::erase_if(code, [](const code_section& s) { return !named_for_sockets(s); });
    if (code.size() != 1) return fail(EINVAL);
    for (const std::size_t at : referring)
        if (at == code[0].index) return fail(EINVAL);
    return code[0].bytes;
}

}  // namespace skua::udp
