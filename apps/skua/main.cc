// skua: what a user does with the daemon skuad. `skua run` starts a program whose UDP sockets are skua's.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <toml++/toml.h>
#include <vector>

#include "skua/elf_facts.hh"

namespace {

namespace fs = std::filesystem;
constexpr int usage_error = 2;
constexpr int cannot_run = 126, not_found = 127;  // as shells say it

constexpr const char* run_description =
    "skua run [OPTIONS] PROGRAM [ARGUMENTS]\n"
    "Runs a program whose UDP sockets over IPv4 and IPv6 are those of skuad; all else stays the kernel's.\n"
    "For example:  skua run dig @198.18.0.2 example.org\n\n"
    "A rule file has a line for each rule; the first that holds decides, and without one a socket is skua's:\n"
    "  kernel address 127.0.0.0/8         by the address that is bound, or connected or sent to, whichever is first\n"
    "  skua   local 198.18.0.1 port 53    if this is bound\n"
    "  kernel remote 2001:db8::/32        if it is connected or sent to before anything is bound\n"
    "  kernel program ntpd port 123-130   of this program only (its file's name; * and ? stand for others)\n";

struct run_options {
    std::string attach, config, rules, log, fallback;
    std::vector<std::string> command;
};

int fail(const std::string& why, int code = usage_error) {
    fmt::print(stderr, "skua: {}\n", why);
    return code;
}

/// Beside this program in the build tree, or where it was installed.
fs::path find_preload() {
    std::error_code none;
    const fs::path folder = fs::read_symlink("/proc/self/exe", none).parent_path();
    for (const char* place : {SKUA_PRELOAD_IN_BUILD, SKUA_PRELOAD_INSTALLED})
        if (const fs::path p = folder / place; fs::exists(p, none)) return fs::canonical(p, none);
    return {};
}

/// `path` of [attach] in a configuration of skuad.
std::string attach_of(const std::string& file, std::string& error) {
    try {
        const auto table = toml::parse_file(file);
        if (const auto path = table["attach"]["path"].value<std::string>(); path && !path->empty()) return *path;
        error = file + ": attach.path is not set: nobody can attach to this daemon";
    } catch (const toml::parse_error& e) {
        error = fmt::format("{}:{}: {}", file, e.source().begin.line, e.description());
    }
    return {};
}

/// Nothing: the preload works for it. Else why not.
std::string objection(const skua::app::program_facts& p) {
    const std::string name = p.file.string();
    if (p.other_privileges)
        return name + " runs with other privileges than yours (set-user-ID, set-group-ID or capabilities): "
                      "the system preloads nothing into it";
    if (p.other_class) return name + " is a 32-bit program; skua has a 64-bit library only";
    if (p.is_static && p.is_go)
        return name + " is a Go program: it makes system calls itself, and its sockets would stay the kernel's";
    if (p.is_static) return name + " is linked statically: nothing can be preloaded into it";
    return {};
}

void put(const char* name, const std::string& value) {
    if (!value.empty()) setenv(name, value.c_str(), 1);
}

int run(const run_options& o) {
    std::string error;
    const auto program = skua::app::find_program(o.command[0]);
    if (!program) return fail(o.command[0] + ": no such program", not_found);
    const auto facts = skua::app::look_at(*program, error);
    if (!facts) return fail(error, cannot_run);
    if (const std::string why = objection(*facts); !why.empty()) return fail(why, cannot_run);
    if (facts->is_go)
        fmt::print(stderr, "skua: {} is a Go program: the sockets that it makes itself stay the kernel's\n",
                   facts->file.string());
    const fs::path preload = find_preload();
    if (preload.empty()) return fail("libskua-preload.so is not where it was installed", cannot_run);
    std::string attach = o.attach;
    if (!o.config.empty() && attach.empty()) attach = attach_of(o.config, error);
    if (!error.empty()) return fail(error);

    const char* const before = std::getenv("LD_PRELOAD");
    put("LD_PRELOAD", before && *before ? preload.string() + ":" + before : preload.string());
    put("SKUA_ATTACH", attach);
    put("SKUA_RULES", o.rules.empty() ? "" : fs::absolute(o.rules).string());
    put("SKUA_LOG", o.log.empty() || o.log == "stderr" ? o.log : fs::absolute(o.log).string());
    put("SKUA_FALLBACK", o.fallback);
    std::vector<char*> words;
    for (const std::string& w : o.command) words.push_back(const_cast<char*>(w.c_str()));
    words.push_back(nullptr);
    execv(program->c_str(), words.data());
    return fail(fmt::format("{}: {}", program->string(), std::strerror(errno)), cannot_run);
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app("Runs programs on the sockets of skuad.", "skua");
    app.require_subcommand(1);
    CLI::App& run_command = *app.add_subcommand("run", run_description);
    run_options o;
    run_command.add_option("--attach", o.attach, "Attach socket of skuad [SKUA_ATTACH, or /run/skua/attach]")
        ->type_name("PATH");
    run_command.add_option("--config", o.config, "Configuration of skuad: its attach socket is used")
        ->type_name("FILE")
        ->check(CLI::ExistingFile);
    run_command.add_option("--rules", o.rules, "Which sockets go to skua, which to the kernel [SKUA_RULES, or all]")
        ->type_name("FILE")
        ->check(CLI::ExistingFile);
    run_command.add_option("--log", o.log, "Says where each socket went, and why: \"stderr\" or a file [SKUA_LOG]")
        ->type_name("WHERE");
    run_command
        .add_option("--fallback", o.fallback,
                    "Without a daemon: the \"kernel\"'s sockets, or an \"error\" [SKUA_FALLBACK, or error]")
        ->type_name("WHAT")
        ->check(CLI::IsMember({"kernel", "error"}));
    run_command.prefix_command();
    // CLI11 ends a prefix command at a "--" within it: that belongs to the program, unless it stands before it.
    char** const end = argv + argc;
    char** const mark = std::find_if(argv, end, [](const char* word) { return std::strcmp(word, "--") == 0; });
    try {
        app.parse(static_cast<int>(mark - argv), argv);
    } catch (const CLI::ParseError& e) {
        return app.exit(e) == 0 ? 0 : usage_error;
    }
    o.command = run_command.remaining();
    o.command.insert(o.command.end(), mark != end && o.command.empty() ? mark + 1 : mark, end);
    if (o.command.empty()) return fail("run: which program? See skua run --help");
    return run(o);
}
