// The command line of programs that run a stack: PROGRAM [EAL arguments] -- [own options], as DPDK's programs have it.
//
// Every key of the configuration has an option, made from the table of keys. Options come after the file's values.
#pragma once

#include <iosfwd>
#include <memory>
#include <span>
#include <string>
#include <tl/expected.hpp>
#include <vector>

#include "control/config.hh"

namespace CLI {
class App;
}

namespace skua::control {

struct key_info;

struct split_arguments {
    std::string program;
    std::vector<std::string> eal;
    std::vector<std::string> own;
};

/// At the first "--"; without one, all arguments are the program's own.
split_arguments split_command_line(int argc, const char* const* argv);

/// How a key is given on the command line, "--pool-packets VALUE"; empty if it is not.
std::string option_text(const key_info& k);

class command_line {
public:
    explicit command_line(std::string description);
    ~command_line();
    command_line(const command_line&) = delete;
    command_line& operator=(const command_line&) = delete;

    /// For a program's own options; to be added before parse().
    CLI::App& app();

    /// The checked configuration, EAL arguments of all kinds in eal.args; or the status to exit with, after help was
    /// written to `out` (0) or what is wrong to `err` (2).
    tl::expected<config, int> parse(int argc, const char* const* argv, std::ostream& out, std::ostream& err);
    /// The same, to the standard streams.
    tl::expected<config, int> parse(int argc, const char* const* argv);

private:
    struct state;
    std::unique_ptr<state> state_;
};

}  // namespace skua::control
