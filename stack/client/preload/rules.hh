// Which sockets go to skua and which to the kernel, by program, address and port: a text, a line for each rule.
//
//   kernel program ntpd                 all sockets of this program
//   kernel address 127.0.0.0/8          by the address that is bound, or connected or sent to, whichever comes first
//   skua   local 198.18.0.1 port 53     when it binds this
//   kernel remote 2001:db8::/32         when it connects or sends there without having bound
//   kernel port 5353
//
// The first rule of which all conditions hold decides; without one it is skua. `#` begins a remark.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "base/address.hh"

namespace skua::client {

class rules {
public:
    enum class where : std::uint8_t { skua, kernel };
    /// What names an address: bind(2), or connect(2) and send(2).
    enum class when : std::uint8_t { bound, sent };

    struct decision {
        where to = where::skua;
        std::string why = "no rule";  // or "rule 3: kernel address 127.0.0.0/8"
    };

    /// The error names the line and what was expected.
    static tl::expected<rules, std::string> parse(std::string_view text);

    /// When a socket is made; nothing: it takes an address to tell.
    std::optional<decision> decide(std::string_view program) const;
    decision decide(std::string_view program, when w, const endpoint& e) const;

private:
    struct rule {
        where to{};
        unsigned line = 0;
        std::string text;
        std::optional<std::string> program;  // a pattern of fnmatch(3)
        std::optional<ip_prefix> address;
        std::optional<when> only;  // the address is of this kind
        std::uint16_t first_port = 0, last_port = 0xffff;

        bool by_address() const { return address || first_port != 0 || last_port != 0xffff; }
        bool is_for(std::string_view p) const;
        decision decides() const;
    };
    static tl::expected<rule, std::string> parse_line(std::string_view line);

    std::vector<rule> rules_;
};

}  // namespace skua::client
