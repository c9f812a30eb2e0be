// Options from the table of keys. Each becomes a line of TOML and is read like one, so that it is checked in the same
// way.
#include "control/command_line.hh"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <array>
#include <deque>
#include <iostream>

#include "control/config_keys.hh"

namespace skua::control {

namespace {

/// EAL options that may stand among a program's own, for programs started without "--".
struct eal_option {
    const char* name;
    bool has_value;
    const char* meaning;
};
constexpr std::array eal_options{
    eal_option{"--vdev", true, "A virtual device"},
    eal_option{"--allow", true, "A PCI device to use, and no others but those allowed"},
    eal_option{"--block", true, "A PCI device not to use"},
    eal_option{"--no-pci", false, "No PCI devices"},
    eal_option{"--no-huge", false, "Memory without hugepages"},
    eal_option{"--in-memory", false, "No files in the runtime and hugepage directories"},
    eal_option{"--lcores", true, "Lcores and their CPUs"},
    eal_option{"--file-prefix", true, "Name that tells EALs of one machine apart"},
    eal_option{"--iova-mode", true, "pa or va"},
};

/// "port[].vlan[].id" → { "port[].vlan[]", "id" }
std::pair<std::string, std::string> parts(const std::string& path) {
    const auto dot = path.rfind('.');
    return dot == std::string::npos ? std::pair(std::string(), path)
                                    : std::pair(path.substr(0, dot), path.substr(dot + 1));
}

std::string dashed(std::string name) {
    std::ranges::replace(name, '_', '-');
    return name;
}

/// The option of a key, "--pool-packets", or nothing.
std::string option_name(const key_info& k) {
    if (k.path == "port[].vlan[]") return "--vlan";
    if (k.path == "port[].addresses") return "--address";
    if (k.path == "eal.args") return "--eal";
    if (k.path == "stack.lcores") return "--shard-lcores";  // --lcores is the EAL's
    const auto [section, name] = parts(k.path);
    if (k.form == key_form::tables)
        return section.empty() ? "--" + dashed(k.path.substr(0, k.path.find('['))) : std::string();
    if (k.form == key_form::table) return "";
    if (section == "stack") return "--" + dashed(name);
    if (section == "port[]" && name != "device" && name != "name") return "--port-" + dashed(name);
    return section.find('[') == std::string::npos ? fmt::format("--{}-{}", section, dashed(name)) : "";
}

bool is_bare(std::string_view text) {
    if (text == "true" || text == "false") return true;
    const auto digits = text.substr(text.starts_with('-') ? 1 : 0);
    return !digits.empty() && digits.find_first_not_of("0123456789") == std::string_view::npos &&
           (digits == "0" || digits[0] != '0');
}

std::vector<std::string> split(std::string_view text, std::string_view separators) {
    std::vector<std::string> out;
    while (true) {
        const auto at = text.find_first_of(separators);
        out.emplace_back(text.substr(0, at));
        if (at == std::string_view::npos) return out;
        text.remove_prefix(at + 1);
    }
}

/// The text of an option as a TOML value of the form that the key has.
std::string toml_value(key_form form, const std::string& text) {
    if (form == key_form::bare && is_bare(text)) return text;
    if (form != key_form::list) return toml_string(text);
    std::vector<std::string> elements;
    for (const auto& e : split(text, "+-")) elements.push_back(is_bare(e) ? e : toml_string(e));
    return fmt::format("[{}]", fmt::join(elements, ", "));
}

/// "0.0.0.0/0,via=198.18.0.254" as lines of TOML; the first item is the value of `first_key`. An item without '=' is
/// taken as an unknown key.
std::string toml_table(const std::string& table, const std::string& first_key, const std::string& text) {
    static const auto known = all_keys();
    std::string out;
    for (const auto& item : split(text, ",")) {
        const auto equals = item.find('=');
        const bool first = out.empty();
        const std::string name = first ? first_key : item.substr(0, equals);
        const std::string value = first ? item : equals == std::string::npos ? "" : item.substr(equals + 1);
        key_form form = key_form::text;
        for (const auto& k : known)
            if (k.path == table + "." + name) form = k.form;
        out += fmt::format("{} = {}\n", toml_string(name), toml_value(form, value));
    }
    return out;
}

/// One use of an option.
struct given {
    std::string option;
    std::string value;
    std::string label() const { return option + ' ' + value; }
};

/// Applies options to a config that may hold a file's values already.
class options_reader {
public:
    options_reader(config& c, reading& r) : config_(c), reading_(r) {}

    void element(const given& g, const std::string& header, const std::string& first_key) {
        read_text(config_, fmt::format("[[{}]]\n{}", header, toml_table(header + "[]", first_key, g.value)), g.label(),
                  reading_);
    }

    void leaf(const given& g, const key_info& k) {
        const auto [section, name] = parts(k.path);
        const std::string line = fmt::format("{} = {}\n", name, toml_value(k.form, g.value));
        if (section == "port[]") {
            for (std::size_t i = 0; i < some_ports().size(); i++)
                keys_into(config_.ports[i], line, fmt::format("port[{}]", i), g);
        } else {
            read_text(config_, fmt::format("[{}]\n{}", section, line), g.label(), reading_);
        }
    }

    /// ID[@PORT][,key=value]...
    void vlan(const given& g) {
        const auto [text, name] = at_sign(g.value);
        for (std::size_t i = 0; i < some_ports().size(); i++)
            if (name.empty() || config_.ports[i].interface_name() == name)
                return keys_into(config_.ports[i], "[[vlan]]\n" + toml_table("port[].vlan[]", "id", text),
                                 fmt::format("port[{}]", i), g);
        unknown_interface(g, name);
    }

    /// ADDRESS/LENGTH[@INTERFACE]
    void address(const given& g) {
        const auto [text, name] = at_sign(g.value);
        const std::string line = fmt::format("addresses = [{}]\n", toml_string(text));
        for (std::size_t i = 0; i < some_ports().size(); i++) {
            port_config& p = config_.ports[i];
            const std::string path = fmt::format("port[{}]", i);
            if (name.empty() || p.interface_name() == name) return keys_into(p, line, path, g);
            for (std::size_t j = 0; j < p.vlans.size(); j++)
                if (p.interface_name(p.vlans[j]) == name)
                    return keys_into(p.vlans[j], line, fmt::format("{}.vlan[{}]", path, j), g);
        }
        unknown_interface(g, name);
    }

private:
    template <class Object>
    void keys_into(Object& object, const std::string& text, const std::string& path, const given& g) {
        if (const auto table = parse_toml(text, g.label(), reading_)) read_keys(object, *table, path, reading_);
    }

    /// An address without any port means DPDK's first one.
    std::vector<port_config>& some_ports() {
        if (config_.ports.empty()) config_.ports.push_back({.device = "0"});
        return config_.ports;
    }

    /// "A@B,c=d" → "A,c=d" and "B"
    static std::pair<std::string, std::string> at_sign(const std::string& value) {
        const auto at = value.find('@');
        if (at == std::string::npos) return {value, ""};
        const auto end = std::min(value.find(',', at), value.size());
        return {value.substr(0, at) + value.substr(end), value.substr(at + 1, end - at - 1)};
    }

    void unknown_interface(const given& g, const std::string& name) {
        std::vector<std::string> names;
        for (const auto& p : config_.ports) {
            names.push_back(p.interface_name());
            for (const auto& v : p.vlans) names.push_back(p.interface_name(v));
        }
        reading_.add({g.label(), 0, 0, "", toml_string(name),
                      fmt::format("the name of an interface: {}", fmt::join(names, ", "))});
    }

    config& config_;
    reading& reading_;
};

}  // namespace

split_arguments split_command_line(int argc, const char* const* argv) {
    split_arguments out;
    if (argc > 0) out.program = argv[0];
    const auto* begin = argv + std::min(argc, 1);
    const auto* end = argv + argc;
    const auto* dashes = std::find(begin, end, std::string_view("--"));
    if (dashes != end) out.eal.assign(begin, dashes);
    out.own.assign(dashes == end ? begin : dashes + 1, end);
    return out;
}

std::string option_text(const key_info& k) {
    const std::string name = option_name(k);
    if (name.empty()) return "";
    if (name == "--vlan") return "--vlan ID[@PORT][,KEY=VALUE]...";
    if (name == "--address") return "--address ADDRESS/LENGTH[@INTERFACE]";
    if (name == "--port") return "--port DEVICE[,KEY=VALUE]...";
    if (name == "--route") return "--route TO[,KEY=VALUE]...";
    if (name == "--neighbour") return "--neighbour ADDRESS,mac=MAC[,KEY=VALUE]...";
    if (name == "--udp-ephemeral-ports") return "--udp-ephemeral-ports FIRST-LAST";
    if (name == "--eal") return "--eal \"ARGUMENT ...\"";
    return name + " VALUE";
}

struct command_line::state {
    explicit state(std::string description) : app(std::move(description)), keys(all_keys()) {
        app.add_option("--config", file, "TOML file with the configuration")->group("Stack");
        for (const auto& k : keys)
            if (const auto name = option_name(k); !name.empty()) {
                const std::string meaning = k.unit.empty() ? k.meaning : fmt::format("{} [{}]", k.meaning, k.unit);
                add(name, meaning, "Stack", option_text(k).substr(name.size() + 1));
            }
        for (const auto& o : eal_options) {
            if (o.has_value) add(o.name, o.meaning, "EAL", "VALUE");
            else app.add_flag(o.name, flags[o.name], o.meaning)->group("EAL");
        }
    }

    void add(const std::string& name, const std::string& meaning, const std::string& group,
             const std::string& value_text) {
        app.add_option(name, values[name], meaning)->allow_extra_args(false)->group(group)->type_name(value_text);
    }

    /// Every use of an option, as given{}.
    template <class Apply>
    void each(const std::string& option, Apply&& apply) {
        for (const auto& v : values[option]) apply(given{option, v});
    }

    void read(config& c, reading& r) {
        if (!file.empty()) read_file(c, file, r);
        options_reader reader(c, r);
        // Ports first: other options speak of them.
        each("--port", [&](const given& g) { reader.element(g, "port", "device"); });
        each("--vlan", [&](const given& g) { reader.vlan(g); });
        each("--address", [&](const given& g) { reader.address(g); });
        each("--route", [&](const given& g) { reader.element(g, "route", "to"); });
        each("--neighbour", [&](const given& g) { reader.element(g, "neighbour", "address"); });
        for (const auto& k : keys) {
            const auto name = option_name(k);
            const bool special = k.form == key_form::tables || name == "--address" || name == "--eal";
            if (!name.empty() && !special) each(name, [&](const given& g) { reader.leaf(g, k); });
        }
        for (const auto& o : eal_options) {
            each(o.name, [&](const given& g) { c.eal.args.push_back(g.option + '=' + g.value); });
            if (!o.has_value && flags[o.name]) c.eal.args.push_back(o.name);
        }
        each("--eal", [&](const given& g) {
            for (auto& word : split(g.value, " "))
                if (!word.empty()) c.eal.args.push_back(std::move(word));
        });
    }

    CLI::App app;
    const std::vector<key_info> keys;
    std::string file;
    std::map<std::string, std::vector<std::string>> values;
    std::map<std::string, bool> flags;
};

command_line::command_line(std::string description) : state_(std::make_unique<state>(std::move(description))) {}
command_line::~command_line() = default;
CLI::App& command_line::app() { return state_->app; }

tl::expected<config, int> command_line::parse(int argc, const char* const* argv) {
    return parse(argc, argv, std::cout, std::cerr);
}

tl::expected<config, int> command_line::parse(int argc, const char* const* argv, std::ostream& out, std::ostream& err) {
    constexpr int wrong_usage = 2;
    auto split = split_command_line(argc, argv);
    state_->app.name(split.program);
    try {
        std::ranges::reverse(split.own);  // as CLI11 wants it
        state_->app.parse(split.own);
    } catch (const CLI::ParseError& e) {
        return tl::unexpected(state_->app.exit(e, out, err) == 0 ? 0 : wrong_usage);
    }
    reading r;
    config c;
    state_->read(c, r);
    auto checked = finish(std::move(c), r);
    if (!checked) {
        err << to_string(checked.error());
        return tl::unexpected(wrong_usage);
    }
    checked->eal.args.insert(checked->eal.args.end(), split.eal.begin(), split.eal.end());
    return std::move(*checked);
}

}  // namespace skua::control
