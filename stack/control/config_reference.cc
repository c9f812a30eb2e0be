// The configuration as a page of documentation, made from the table of keys.
#include "control/command_line.hh"
#include "control/config_keys.hh"

namespace skua::control {

namespace {

/// "port[].vlan[]" as a header: "[[port.vlan]]".
std::string header(const key_info& table) {
    std::string name = table.path;
    for (auto at = name.find("[]"); at != std::string::npos; at = name.find("[]")) name.erase(at, 2);
    return table.form == key_form::tables ? fmt::format("[[{}]]", name) : fmt::format("[{}]", name);
}

/// A '|' would end the cell.
std::string cell(std::string text) {
    for (auto at = text.find('|'); at != std::string::npos; at = text.find('|', at + 2)) text.insert(at, 1, '\\');
    return text;
}

std::string default_of(const key_info& k) {
    if (k.required) return "required";
    return k.default_value.empty() ? "none" : fmt::format("`{}`", k.default_value);
}

}  // namespace

std::vector<key_info> all_keys() {
    std::vector<key_info> out;
    describe_table<config>("", out);
    return out;
}

std::string config_reference() {
    std::string out =
        "# Configuration\n\n"
        "One TOML file, read once when the program starts. It is checked whole: a file with a mistake in it is "
        "refused, and every\n"
        "mistake is told with its line, its key, what was found and what was expected. Unknown keys are mistakes. "
        "All keys have\n"
        "defaults but those marked as required, so an empty file is a valid one.\n\n"
        "A program takes the file by `--config FILE`, and the keys by the options below, which come after the "
        "file's. EAL arguments\n"
        "stand before `--`, as for all DPDK programs; without a `--`, all arguments are the program's own.\n\n"
        "This page is made from the table in `stack/control/config_keys.cc`.\n";
    const auto known = all_keys();
    for (const auto& k : known) {
        if (k.form == key_form::table || k.form == key_form::tables) {
            out += fmt::format("\n## {}\n\n{}\n", header(k), k.meaning);
            if (const auto option = option_text(k); !option.empty())
                out += fmt::format("Command line: `{}`.\n", option);
            out += "\n| key | value | default | unit | meaning | option |\n| --- | --- | --- | --- | --- | --- |\n";
            continue;
        }
        const auto option = option_text(k);
        out += fmt::format("| `{}` | {} | {} | {} | {} | {} |\n", k.path.substr(k.path.rfind('.') + 1), cell(k.type),
                           cell(default_of(k)), k.unit, cell(k.meaning),
                           option.empty() ? "" : fmt::format("`{}`", option));
    }
    return out;
}

}  // namespace skua::control
