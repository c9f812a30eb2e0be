// Reading the headers of an ELF file (elf(5)), and the first line of a script.
#include "skua/elf_facts.hh"

#include <elf.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <vector>

namespace skua::app {

namespace {

namespace fs = std::filesystem;
constexpr int deepest_script = 5;  // BINPRM_MAX_RECURSION

/// The note by which the Go linker marks what it makes.
bool is_go_note(std::ifstream& in, const Elf64_Phdr& part) {
    Elf64_Nhdr head{};
    char name[4] = {};
    in.seekg(static_cast<std::streamoff>(part.p_offset));
    in.read(reinterpret_cast<char*>(&head), sizeof head).read(name, sizeof name);
    return in && head.n_namesz == sizeof name && std::memcmp(name, "Go\0\0", sizeof name) == 0;
}

bool gives_other_privileges(const fs::path& file) {
    struct stat facts {};
    if (::stat(file.c_str(), &facts) != 0) return false;
    if (facts.st_mode & S_ISUID && facts.st_uid != getuid()) return true;
    if (facts.st_mode & S_ISGID && facts.st_gid != getgid()) return true;
    return getuid() != 0 && getxattr(file.c_str(), "security.capability", nullptr, 0) > 0;
}

void read_elf(std::ifstream& in, program_facts& facts) {
    Elf64_Ehdr head{};
    in.seekg(0);
    in.read(reinterpret_cast<char*>(&head), sizeof head);
    facts.other_class = head.e_ident[EI_CLASS] != ELFCLASS64;
    if (!in || facts.other_class) return;
    facts.is_static = true;
    for (unsigned i = 0; i < head.e_phnum; i++) {
        Elf64_Phdr part{};
        in.seekg(static_cast<std::streamoff>(head.e_phoff + i * head.e_phentsize));
        if (!in.read(reinterpret_cast<char*>(&part), sizeof part)) return;
        if (part.p_type == PT_INTERP) facts.is_static = false;
        if (part.p_type == PT_NOTE && is_go_note(in, part)) facts.is_go = true;
    }
}

}  // namespace

std::optional<fs::path> find_program(const std::string& name) {
    const auto runs = [](const fs::path& p) { return access(p.c_str(), X_OK) == 0 && !fs::is_directory(p); };
    if (name.find('/') != name.npos) return runs(name) ? std::optional<fs::path>(name) : std::nullopt;
    const char* const path = std::getenv("PATH");
    std::istringstream folders(path ? path : "/bin:/usr/bin");
    for (std::string folder; std::getline(folders, folder, ':');)
        if (const fs::path p = fs::path(folder.empty() ? "." : folder) / name; runs(p)) return p;
    return {};
}

std::optional<program_facts> look_at(const fs::path& file, std::string& error) {
    program_facts facts{.file = file};
    for (int depth = 0; depth <= deepest_script; depth++) {
        std::ifstream in(facts.file, std::ios::binary);
        char magic[4] = {};
        if (!in) {
            error = facts.file.string() + ": " + std::strerror(errno);
            return {};
        }
        in.read(magic, sizeof magic);
        // The kernel gives a script's privileges to nobody.
        if (std::memcmp(magic, ELFMAG, SELFMAG) == 0) {
            facts.other_privileges = gives_other_privileges(facts.file);
            read_elf(in, facts);
            return facts;
        }
        if (magic[0] != '#' || magic[1] != '!') return facts;
        in.clear();
        in.seekg(2);
        std::string line, interpreter, argument;
        std::getline(in, line);
        std::istringstream words(line);
        words >> interpreter >> argument;
        if (interpreter.empty()) return facts;
        facts.file = interpreter;
        if (fs::path(interpreter).filename() == "env" && !argument.empty() && argument[0] != '-')
            if (const auto found = find_program(argument)) facts.file = *found;
    }
    return facts;
}

}  // namespace skua::app
