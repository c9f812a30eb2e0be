// How one key of the configuration is described; the descriptions themselves are in config_keys.cc.
#pragma once

#include <fmt/format.h>
#include <toml++/toml.h>

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "control/config.hh"

namespace skua::control {

/// Where a value stood.
struct place {
    std::string file;
    std::uint32_t line = 0;
    std::uint32_t column = 0;
};

/// One reading: collects problems, and the places of values for the checks that come after.
class reading {
public:
    /// Every path met gets a place; `file` is told for what has none.
    void note(const std::string& path, const toml::source_region& at);
    void wrong(const std::string& path, std::string found, std::string expected);
    void wrong(const std::string& path, const toml::node& found, std::string expected);
    void take(std::vector<config_problem> more);  // gives them the places of their paths
    void add(config_problem p) { problems_.push_back(std::move(p)); }
    std::vector<config_problem>& problems() { return problems_; }

private:
    std::map<std::string, place> places_;
    std::vector<config_problem> problems_;
};

/// How a value is written: tells the command line what to quote.
enum class key_form : std::uint8_t { bare, text, list, table, tables };

/// A key as people see it, its path with "[]" for elements of arrays of tables: "port[].mtu".
struct key_info {
    std::string path;
    key_form form;
    std::string type;           // "an integer from 68 to 9710"
    std::string default_value;  // TOML; empty: none
    std::string unit;
    std::string meaning;
    bool required = false;
};

/// A key of the tables that are kept in an Object.
template <class Object>
struct key {
    std::string name;
    key_form form;
    std::string type;
    std::string unit;
    std::string meaning;
    bool required = false;
    /// Sets the member from a node or says in `r` what is wrong with it.
    std::function<void(Object&, const toml::node&, const std::string& path, reading& r)> read;
    /// TOML of a leaf's value, empty if it has none. Not for tables.
    std::function<std::string(const Object&)> print;
    /// Only for tables: their TOML with headers, and their keys.
    std::function<void(const Object&, const std::string& path, std::string& out)> write;
    std::function<void(const std::string& path, std::vector<key_info>& out)> describe;
};

/// The table of keys of an Object: config, port_config, …
template <class Object>
const std::vector<key<Object>>& keys();
template <>
const std::vector<key<config>>& keys<config>();
template <>
const std::vector<key<port_config>>& keys<port_config>();
template <>
const std::vector<key<vlan_config>>& keys<vlan_config>();
template <>
const std::vector<key<route_config>>& keys<route_config>();
template <>
const std::vector<key<neighbour_config>>& keys<neighbour_config>();
template <>
const std::vector<key<attach_allowance>>& keys<attach_allowance>();

/// Every key, flat, in the order of the table.
std::vector<key_info> all_keys();

/// The rule for a key that is not there: names the nearest one, or all.
std::string expected_keys(std::string_view unknown, const std::vector<std::string>& known);

/// TOML text, or nothing after its syntax was refused. `name` stands for the file; one that begins with "--" is an
/// option.
std::optional<toml::table> parse_toml(std::string_view text, std::string_view name, reading& r);
void read_text(config& c, std::string_view text, std::string_view name, reading& r);
void read_file(config& c, const std::string& path, reading& r);
/// Checks what was read as a whole if all of it was right so far.
config_result finish(config c, reading& r);

/// A string as a TOML basic string.
std::string toml_string(std::string_view text);

inline std::string joined(const std::string& path, std::string_view name) {
    return path.empty() ? std::string(name) : fmt::format("{}.{}", path, name);
}

/// Reads what is there into an object; unknown keys are refused.
template <class Object>
void read_keys(Object& object, const toml::table& table, const std::string& path, reading& r) {
    std::vector<std::string> known;
    for (const auto& k : keys<Object>()) known.push_back(k.name);
    for (const auto& [name, node] : table) {
        const std::string at = joined(path, name.str());
        const key<Object>* found = nullptr;
        for (const auto& k : keys<Object>())
            if (k.name == name.str()) found = &k;
        if (found == nullptr) {
            r.note(at, name.source());
            r.wrong(at, "an unknown key", expected_keys(name.str(), known));
            continue;
        }
        r.note(at, node.source());
        found->read(object, node, at, r);
    }
}

/// The same, and required keys must be there.
template <class Object>
void read_table(Object& object, const toml::table& table, const std::string& path, reading& r) {
    read_keys(object, table, path, r);
    for (const auto& k : keys<Object>())
        if (k.required && !table.contains(k.name)) r.wrong(joined(path, k.name), "nothing", k.type);
}

/// TOML of an object: its leaves, then its tables.
template <class Object>
void write_table(const Object& object, const std::string& path, std::string& out) {
    for (const auto& k : keys<Object>())
        if (k.print)
            if (const auto text = k.print(object); !text.empty()) out += fmt::format("{} = {}\n", k.name, text);
    for (const auto& k : keys<Object>())
        if (k.write) k.write(object, joined(path, k.name), out);
}

template <class Object>
void describe_table(const std::string& path, std::vector<key_info>& out) {
    const Object defaults{};
    for (const auto& k : keys<Object>()) {
        const std::string at = joined(path, k.name) + (k.form == key_form::tables ? "[]" : "");
        const std::string value = k.print && !k.required ? k.print(defaults) : "";
        out.push_back({at, k.form, k.type, value, k.unit, k.meaning, k.required});
        if (k.describe) k.describe(at, out);
    }
}

}  // namespace skua::control
