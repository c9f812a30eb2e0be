// Reading TOML into a config, and writing it back.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include "control/config_keys.hh"

namespace skua::control {

namespace {

constexpr std::string_view option_prefix = "--";

place place_of(const toml::source_region& at) {
    place p{at.path ? *at.path : std::string(), at.begin.line, at.begin.column};
    // The text of an option is one value: there are no lines to point at.
    if (p.file.starts_with(option_prefix)) p.line = p.column = 0;
    return p;
}

std::string text_of(const toml::node& n) {
    if (const auto* s = n.as_string()) return toml_string(s->get());
    if (n.is_array()) return n.is_array_of_tables() ? "tables" : "a list";
    if (n.is_table()) return "a table";
    std::ostringstream out;
    n.visit([&](const auto& v) {
        if constexpr (toml::is_value<decltype(v)>) out << v;
    });
    return out.str();
}

/// Characters to insert, remove, replace, or swap with their neighbour to make one of the other.
std::size_t distance(std::string_view a, std::string_view b) {
    std::vector<std::vector<std::size_t>> d(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
    for (std::size_t i = 0; i <= a.size(); i++)
        for (std::size_t j = 0; j <= b.size(); j++) {
            if (i == 0 || j == 0) {
                d[i][j] = i + j;
                continue;
            }
            const bool same = a[i - 1] == b[j - 1];
            d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (same ? 0 : 1)});
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
        }
    return d[a.size()][b.size()];
}

}  // namespace

void reading::note(const std::string& path, const toml::source_region& at) { places_[path] = place_of(at); }

void reading::wrong(const std::string& path, std::string found, std::string expected) {
    // A key that is not there is reported where the nearest thing around it begins.
    std::string known = path;
    auto at = places_.find(known);
    while (at == places_.end() && !known.empty()) {
        const auto cut = known.find_last_of(".[");
        known = cut == std::string::npos ? "" : known.substr(0, cut);
        at = places_.find(known);
    }
    const place where = at == places_.end() ? place{} : at->second;
    problems_.push_back({where.file, where.line, where.column, path, std::move(found), std::move(expected)});
}

void reading::wrong(const std::string& path, const toml::node& found, std::string expected) {
    wrong(path, text_of(found), std::move(expected));
}

void reading::take(std::vector<config_problem> more) {
    for (auto& p : more) wrong(p.key, std::move(p.found), std::move(p.expected));
}

std::string expected_keys(std::string_view unknown, const std::vector<std::string>& known) {
    std::string_view nearest;
    std::size_t least = std::max<std::size_t>(2, unknown.size() / 3) + 1;
    for (const auto& k : known)
        if (const auto d = distance(unknown, k); d < least) {
            least = d;
            nearest = k;
        }
    if (!nearest.empty()) return fmt::format("{} (did you mean that?)", nearest);
    return fmt::format("one of {}", fmt::join(known, ", "));
}

std::string toml_string(std::string_view text) {
    std::string out = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') out += {'\\', c};
        else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) out += fmt::format("\\u{:04x}", c);
        else out += c;
    }
    return out + '"';
}

std::string to_string(const config_problem& p) {
    std::string out = p.file;
    if (p.line != 0) out += fmt::format(":{}:{}", p.line, p.column);
    for (const auto& part : {p.key, fmt::format("found {}, expected {}", p.found, p.expected)})
        if (!part.empty()) out += (out.empty() ? "" : ": ") + part;
    return out;
}

std::string to_string(const std::vector<config_problem>& problems) {
    std::string out;
    for (const auto& p : problems) out += to_string(p) + '\n';
    return out;
}

std::optional<toml::table> parse_toml(std::string_view text, std::string_view name, reading& r) {
    try {
        return toml::parse(text, name);
    } catch (const toml::parse_error& e) {
        const place at = place_of(e.source());
        r.add({std::string(name), at.line, at.column, "", fmt::format("bad syntax ({})", e.description()), "TOML"});
        return {};
    }
}

void read_text(config& c, std::string_view text, std::string_view name, reading& r) {
    const auto table = parse_toml(text, name, r);
    if (!table) return;
    r.note("", table->source());
    read_table(c, *table, "", r);
}

void read_file(config& c, const std::string& path, reading& r) {
    errno = 0;
    std::ifstream file(path, std::ios::binary);
    file.peek();
    if (!file.is_open() || file.bad()) return r.add({path, 0, 0, "", std::strerror(errno), "a file that can be read"});
    std::ostringstream text;
    text << file.rdbuf();
    read_text(c, text.str(), path, r);
}

config_result finish(config c, reading& r) {
    // What depends on several keys is looked at only once each is right: one mistake, one message.
    if (r.problems().empty()) r.take(check(c));
    if (r.problems().empty()) return c;
    std::ranges::stable_sort(r.problems(), {},
                             [](const config_problem& p) { return std::tuple(p.line == 0, p.line, p.column); });
    return tl::unexpected(std::move(r.problems()));
}

config_result parse_config(std::string_view text, std::string_view name) {
    reading r;
    config c;
    read_text(c, text, name, r);
    return finish(std::move(c), r);
}

config_result read_config(const std::string& path) {
    reading r;
    config c;
    read_file(c, path, r);
    return finish(std::move(c), r);
}

std::string to_toml(const config& c) {
    std::string out;
    write_table(c, "", out);
    return out.substr(out.find_first_not_of('\n'));
}

}  // namespace skua::control
