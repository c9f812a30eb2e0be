// How values of one C++ type stand in TOML, and the pieces that the table of keys is put together from.
#pragma once

#include <algorithm>
#include <bit>
#include <chrono>
#include <initializer_list>
#include <type_traits>
#include <utility>

#include "control/config_keys.hh"

namespace skua::control {

template <class T>
struct codec {
    key_form form;
    std::string type;
    std::function<std::optional<T>(const toml::node&)> from;  // nothing: not such a value
    std::function<std::string(const T&)> print;               // TOML
};

/// T is an integer or a duration, which is written as its count.
template <class T>
codec<T> integer(std::int64_t least, std::int64_t most, bool power_of_two = false) {
    const auto what = power_of_two ? "a power of two" : "an integer";
    return {key_form::bare, fmt::format("{} from {} to {}", what, least, most),
            [=](const toml::node& n) -> std::optional<T> {
                const auto v = n.value_exact<std::int64_t>();
                if (!v || *v < least || *v > most) return {};
                if (power_of_two && !std::has_single_bit(static_cast<std::uint64_t>(*v))) return {};
                return T(static_cast<std::conditional_t<std::is_integral_v<T>, T, std::int64_t>>(*v));
            },
            [](const T& v) {
                if constexpr (std::is_integral_v<T>) return fmt::to_string(v);
                else return fmt::to_string(v.count());
            }};
}

inline codec<bool> boolean() {
    return {key_form::bare, "true or false", [](const toml::node& n) { return n.value_exact<bool>(); },
            [](bool v) { return std::string(v ? "true" : "false"); }};
}

/// `parse` gives an optional<T> for a string_view, `print` the text of a T.
template <class T, class Parse, class Print>
codec<T> parsed(std::string type, Parse parse, Print print) {
    return {key_form::text, std::move(type),
            [parse](const toml::node& n) -> std::optional<T> {
                const auto text = n.value_exact<std::string_view>();
                if (!text) return {};
                return parse(*text);
            },
            [print](const T& v) { return toml_string(print(v)); }};
}

template <class Enum>
codec<Enum> choice(std::vector<std::pair<std::string_view, Enum>> choices) {
    std::string type;
    for (std::size_t i = 0; i < choices.size(); i++)
        type += (i == 0 ? "" : i + 1 == choices.size() ? " or " : ", ") + toml_string(choices[i].first);
    return parsed<Enum>(
        type,
        [choices](std::string_view text) -> std::optional<Enum> {
            for (const auto& [name, value] : choices)
                if (name == text) return value;
            return {};
        },
        [choices](Enum v) {
            for (const auto& [name, value] : choices)
                if (value == v) return name;
            return std::string_view{};
        });
}

template <class Member>
struct unwrapped {
    using type = Member;
};
template <class T>
struct unwrapped<std::optional<T>> {
    using type = T;
};

/// A key with one value; the member is a T or an optional<T>.
template <class Object, class Member>
key<Object> value(std::string name, Member Object::*member, codec<typename unwrapped<Member>::type> c, std::string unit,
                  std::string meaning, bool required = false) {
    key<Object> k{name, c.form, c.type, std::move(unit), std::move(meaning), required};
    k.read = [=](Object& o, const toml::node& n, const std::string& path, reading& r) {
        if (auto v = c.from(n)) o.*member = std::move(*v);
        else r.wrong(path, n, c.type);
    };
    k.print = [=](const Object& o) {
        if constexpr (std::is_same_v<Member, typename unwrapped<Member>::type>) return c.print(o.*member);
        else return o.*member ? c.print(*(o.*member)) : std::string();
    };
    return k;
}

/// A key with an array of values.
template <class Object, class T>
key<Object> list(std::string name, std::vector<T> Object::*member, codec<T> c, std::string plural,
                 std::string meaning) {
    key<Object> k{name, key_form::list, "a list of " + plural, "", std::move(meaning)};
    k.read = [=, type = k.type](Object& o, const toml::node& n, const std::string& path, reading& r) {
        if (!n.is_array()) return r.wrong(path, n, type);
        std::size_t i = (o.*member).size();
        for (const auto& element : *n.as_array()) {
            const std::string at = fmt::format("{}[{}]", path, i++);
            r.note(at, element.source());
            if (auto v = c.from(element)) (o.*member).push_back(std::move(*v));
            else r.wrong(at, element, c.type);
        }
    };
    k.print = [=](const Object& o) {
        std::vector<std::string> parts;
        for (const auto& v : o.*member) parts.push_back(c.print(v));
        return fmt::format("[{}]", fmt::join(parts, ", "));
    };
    return k;
}

/// [name]
template <class Object>
key<config> section(std::string name, Object config::*member, std::string meaning) {
    key<config> k{name, key_form::table, "a table", "", std::move(meaning)};
    k.read = [=](config& o, const toml::node& n, const std::string& path, reading& r) {
        if (n.is_table()) read_table(o.*member, *n.as_table(), path, r);
        else r.wrong(path, n, "a table: [" + path + "]");
    };
    k.write = [=](const config& o, const std::string& path, std::string& out) {
        out += fmt::format("\n[{}]\n", path);
        write_table(o.*member, path, out);
    };
    k.describe = [](const std::string& path, std::vector<key_info>& out) { describe_table<Object>(path, out); };
    return k;
}

/// [[name]]
template <class Object, class Element>
key<Object> sections(std::string name, std::vector<Element> Object::*member, std::string meaning) {
    key<Object> k{name, key_form::tables, "an array of tables", "", std::move(meaning)};
    k.read = [=](Object& o, const toml::node& n, const std::string& path, reading& r) {
        // The header is written without the numbers of the tables around it: [[port.vlan]].
        if (!n.is_array_of_tables()) return r.wrong(path, n, "an array of tables: one [[…]] header for each " + name);
        for (const auto& element : *n.as_array()) {
            const std::string at = fmt::format("{}[{}]", path, (o.*member).size());
            r.note(at, element.source());
            read_table((o.*member).emplace_back(), *element.as_table(), at, r);
        }
    };
    k.write = [=](const Object& o, const std::string& path, std::string& out) {
        for (const auto& element : o.*member) {
            out += fmt::format("\n[[{}]]\n", path);
            write_table(element, path, out);
        }
    };
    k.describe = [](const std::string& path, std::vector<key_info>& out) { describe_table<Element>(path, out); };
    return k;
}

// ---- codecs of the stack's own types ----

codec<std::string> any_text();
codec<std::string> name_text();
codec<std::string> lcores_text();
codec<ip_prefix> prefix();
codec<ip_address> address();
codec<mac_address> mac();
codec<port_range> ports();
codec<port_range> port_or_range();
codec<rss_key> rss_key_text();
codec<std::string> user_text();   // or nothing
codec<std::string> group_text();  // or nothing
codec<std::uint32_t> file_mode();

}  // namespace skua::control
