// What a program file is: whether a library can be put before libc's calls in it.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace skua::app {

struct program_facts {
    std::filesystem::path file;  // the one that the kernel maps: a script's interpreter
    bool is_static = false;
    bool is_go = false;
    bool other_class = false;       // not of this machine's word size
    bool other_privileges = false;  // set-user-ID, set-group-ID or capabilities: the loader takes no preload for it
};

/// As execvp(3) finds it.
std::optional<std::filesystem::path> find_program(const std::string& name);
/// The error says why it cannot be read. A file that is neither ELF nor a script has no facts: exec says the rest.
std::optional<program_facts> look_at(const std::filesystem::path& file, std::string& error);

}  // namespace skua::app
