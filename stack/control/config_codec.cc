// Codecs of addresses, names, port ranges, RSS keys and lcore lists.
#include "control/config_codec.hh"

#include <grp.h>
#include <pwd.h>

#include <charconv>
#include <set>

namespace skua::control {

namespace {

// RSS keys of real NICs have 40 bytes, or 52 (i40e, ice).
constexpr std::size_t rss_key_sizes[] = {40, 52};

std::optional<rss_key> parse_rss_key(std::string_view text) {
    if (text == "random") return rss_key{rss_key::source::random, {}};
    if (text == "symmetric") return rss_key{rss_key::source::symmetric, {}};
    rss_key key{rss_key::source::given, {}};
    if (std::ranges::find(rss_key_sizes, text.size() / 2) == std::end(rss_key_sizes) || text.size() % 2) return {};
    for (std::size_t i = 0; i < text.size(); i += 2) {
        std::uint8_t byte = 0;
        const auto [end, problem] = std::from_chars(text.data() + i, text.data() + i + 2, byte, 16);
        if (problem != std::errc{} || end != text.data() + i + 2) return {};
        key.bytes.push_back(byte);
    }
    return key;
}

std::string rss_key_text_of(const rss_key& key) {
    if (key.from == rss_key::source::random) return "random";
    if (key.from == rss_key::source::symmetric) return "symmetric";
    return fmt::format("{:02x}", fmt::join(key.bytes, ""));
}

std::optional<unsigned> number(std::string_view text) {
    unsigned v = 0;
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), v);
    if (problem != std::errc{} || end != text.data() + text.size()) return {};
    return v;
}

constexpr unsigned highest_lcore = 1023;

/// A name that `known` knows, or a number, which may stand without quotes.
codec<std::string> account(const char* what, std::optional<std::uint32_t> (*known)(const std::string&)) {
    return {key_form::text, fmt::format("the name or number of a {} of this machine", what),
            [known](const toml::node& n) -> std::optional<std::string> {
                std::string text;
                if (const auto v = n.value_exact<std::int64_t>()) text = fmt::to_string(*v);
                else if (const auto t = n.value_exact<std::string>()) text = *t;
                else return {};
                if (!text.empty() && !known(text)) return {};
                return text;
            },
            [](const std::string& v) { return toml_string(v); }};
}

/// "53" or "1000-1010".
std::optional<port_range> parse_port_range(std::string_view text) {
    const auto dash = text.find('-');
    const auto first = number(text.substr(0, dash));
    const auto last = dash == std::string_view::npos ? first : number(text.substr(dash + 1));
    if (!first || !last || *first < 1 || *first > *last || *last > 65535) return {};
    return port_range{static_cast<std::uint16_t>(*first), static_cast<std::uint16_t>(*last)};
}

}  // namespace

std::optional<std::uint32_t> user_id(const std::string& text) {
    if (const auto n = number(text)) return n;
    const passwd* const found = getpwnam(text.c_str());
    return found == nullptr ? std::nullopt : std::optional(found->pw_uid);
}

std::optional<std::uint32_t> group_id(const std::string& text) {
    if (const auto n = number(text)) return n;
    const group* const found = getgrnam(text.c_str());
    return found == nullptr ? std::nullopt : std::optional(found->gr_gid);
}

std::optional<std::vector<unsigned>> parse_lcore_list(std::string_view text) {
    std::vector<unsigned> lcores;
    std::set<unsigned> seen;
    while (true) {
        const auto comma = text.find(',');
        const auto part = text.substr(0, comma);
        const auto dash = part.find('-');
        const auto first = number(part.substr(0, dash));
        const auto last = dash == std::string_view::npos ? first : number(part.substr(dash + 1));
        if (!first || !last || *first > *last || *last > highest_lcore) return {};
        for (unsigned i = *first; i <= *last; i++) {
            if (!seen.insert(i).second) return {};
            lcores.push_back(i);
        }
        if (comma == std::string_view::npos) return lcores;
        text.remove_prefix(comma + 1);
    }
}

codec<std::string> any_text() {
    return parsed<std::string>(
        "a string", [](std::string_view t) { return std::optional<std::string>(t); },
        [](const std::string& v) { return v; });
}

codec<std::string> name_text() {
    // '@' and ',' part names from values on the command line.
    return parsed<std::string>(
        "a name without spaces, '@' and ','",
        [](std::string_view t) -> std::optional<std::string> {
            if (t.find_first_of(" \t\n@,") != std::string_view::npos) return {};
            return std::string(t);
        },
        [](const std::string& v) { return v; });
}

codec<std::string> lcores_text() {
    return parsed<std::string>(
        "a list of lcores (\"1-3,5\"), each once, 0 to 1023",
        [](std::string_view t) -> std::optional<std::string> {
            if (!t.empty() && !parse_lcore_list(t)) return {};
            return std::string(t);
        },
        [](const std::string& v) { return v; });
}

codec<ip_prefix> prefix() {
    return parsed<ip_prefix>("an address with its prefix length (\"198.18.0.1/24\")", ip_prefix::parse,
                             [](const ip_prefix& p) { return p.to_string(); });
}

codec<ip_address> address() {
    return parsed<ip_address>("an IPv4 or IPv6 address", ip_address::parse,
                              [](const ip_address& a) { return a.to_string(); });
}

codec<mac_address> mac() {
    return parsed<mac_address>(
        "a unicast MAC address (\"52:54:00:00:00:01\")",
        [](std::string_view t) -> std::optional<mac_address> {
            const auto m = parse_mac(t);
            if (!m || m->is_multicast() || m->is_zero()) return {};
            return m;
        },
        [](const mac_address& m) { return skua::to_string(m); });
}

codec<port_range> ports() {
    return {key_form::list, "[first, last] with 1 <= first <= last <= 65535",
            [](const toml::node& n) -> std::optional<port_range> {
                const auto* pair = n.as_array();
                if (pair == nullptr || pair->size() != 2) return {};
                const auto first = (*pair)[0].value_exact<std::int64_t>();
                const auto last = (*pair)[1].value_exact<std::int64_t>();
                if (!first || !last || *first < 1 || *first > *last || *last > 65535) return {};
                return port_range{static_cast<std::uint16_t>(*first), static_cast<std::uint16_t>(*last)};
            },
            [](const port_range& r) { return fmt::format("[{}, {}]", r.first, r.last); }};
}

codec<rss_key> rss_key_text() {
    return parsed<rss_key>("\"random\", \"symmetric\" or 40 or 52 bytes in hex", parse_rss_key, rss_key_text_of);
}

codec<port_range> port_or_range() {
    return {key_form::text, "a port or a range of ports (53, \"1000-1010\")",
            [](const toml::node& n) -> std::optional<port_range> {
                if (const auto v = n.value_exact<std::int64_t>()) return parse_port_range(fmt::to_string(*v));
                const auto text = n.value_exact<std::string_view>();
                return text ? parse_port_range(*text) : std::nullopt;
            },
            [](const port_range& r) {
                return r.first == r.last ? fmt::to_string(r.first) : fmt::format("\"{}-{}\"", r.first, r.last);
            }};
}

codec<std::string> user_text() { return account("user", user_id); }
codec<std::string> group_text() { return account("group", group_id); }

codec<std::uint32_t> file_mode() {
    return parsed<std::uint32_t>(
        "permissions in octal (\"0660\")",
        [](std::string_view t) -> std::optional<std::uint32_t> {
            std::uint32_t mode = 0;
            const auto [end, problem] = std::from_chars(t.data(), t.data() + t.size(), mode, 8);
            if (problem != std::errc{} || end != t.data() + t.size() || mode > 0777) return {};
            return mode;
        },
        [](std::uint32_t mode) { return fmt::format("{:04o}", mode); });
}

}  // namespace skua::control
