// Reading rules, and asking them.
#include "client/preload/rules.hh"

#include <fmt/format.h>
#include <fnmatch.h>

#include <charconv>

namespace skua::client {

namespace {

std::string_view next_word(std::string_view& line) {
    constexpr std::string_view blanks = " \t\r";
    const auto begin = line.find_first_not_of(blanks);
    if (begin == line.npos || line[begin] == '#') {
        line = {};
        return {};
    }
    const auto end = std::min(line.find_first_of(blanks, begin), line.size());
    const auto word = line.substr(begin, end - begin);
    line.remove_prefix(end);
    return word;
}

std::optional<std::uint16_t> to_port(std::string_view text) {
    std::uint16_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) return {};
    return value;
}

std::optional<ip_prefix> to_prefix(std::string_view text) {
    if (const auto alone = ip_address::parse(text))
        return ip_prefix{*alone, static_cast<std::uint8_t>(alone->is_v4() ? 32 : 128)};
    return ip_prefix::parse(text);
}

tl::unexpected<std::string> expected(std::string_view what, std::string_view found) {
    return tl::unexpected(found.empty() ? fmt::format("expected {}", what)
                                        : fmt::format("found \"{}\", expected {}", found, what));
}

}  // namespace

bool rules::rule::is_for(std::string_view p) const {
    return !program || fnmatch(program->c_str(), std::string(p).c_str(), 0) == 0;
}

rules::decision rules::rule::decides() const { return {to, fmt::format("rule {}: {}", line, text)}; }

tl::expected<rules::rule, std::string> rules::parse_line(std::string_view line) {
    rule r;
    const auto target = next_word(line);
    if (target == "kernel") r.to = where::kernel;
    else if (target != "skua") return expected("\"skua\" or \"kernel\"", target);
    for (auto key = next_word(line); !key.empty(); key = next_word(line)) {
        const auto value = next_word(line);
        if (key == "program") {
            if (value.empty()) return expected("the name of a program", value);
            r.program = value;
        } else if (key == "address" || key == "local" || key == "remote") {
            r.address = to_prefix(value);
            if (!r.address) return expected("an address or a prefix (\"127.0.0.0/8\")", value);
            if (key == "local") r.only = when::bound;
            if (key == "remote") r.only = when::sent;
        } else if (key == "port") {
            const auto dash = value.find('-');
            const auto first = to_port(value.substr(0, dash));
            const auto last = dash == value.npos ? first : to_port(value.substr(dash + 1));
            if (!first || !last || *first > *last) return expected("a port or a range of ports (\"5000-5999\")", value);
            r.first_port = *first;
            r.last_port = *last;
        } else {
            return expected("\"program\", \"address\", \"local\", \"remote\" or \"port\"", key);
        }
    }
    return r;
}

tl::expected<rules, std::string> rules::parse(std::string_view text) {
    rules all;
    unsigned number = 0;
    while (!text.empty()) {
        const auto end = std::min(text.find('\n'), text.size());
        const std::string_view line = text.substr(0, end);
        text.remove_prefix(std::min(end + 1, text.size()));
        number++;
        auto rest = line;
        if (next_word(rest).empty()) continue;
        auto r = parse_line(line);
        if (!r) return tl::unexpected(fmt::format("line {}: {}", number, r.error()));
        r->line = number;
        for (rest = line;;) {
            const auto word = next_word(rest);
            if (word.empty()) break;
            r->text += (r->text.empty() ? "" : " ") + std::string(word);
        }
        all.rules_.push_back(std::move(*r));
    }
    return all;
}

std::optional<rules::decision> rules::decide(std::string_view program) const {
    for (const rule& r : rules_) {
        if (!r.is_for(program)) continue;
        if (r.by_address()) return {};
        return r.decides();
    }
    return decision{};
}

rules::decision rules::decide(std::string_view program, when w, const endpoint& e) const {
    for (const rule& r : rules_)
        if (r.is_for(program) && (!r.only || *r.only == w) && (!r.address || r.address->contains(e.address)) &&
            e.port >= r.first_port && e.port <= r.last_port)
            return r.decides();
    return {};
}

}  // namespace skua::client
