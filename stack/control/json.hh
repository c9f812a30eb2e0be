// Writing JSON (RFC 8259) in order, without a tree.
#pragma once

#include <fmt/format.h>

#include <concepts>
#include <string>
#include <string_view>

namespace skua::control {

/// `json_writer w; w.object([&] { w.key("drops").value(3); });`
class json_writer {
public:
    template <class Body>
    json_writer& object(Body&& body) {
        return enclosed('{', '}', body);
    }
    template <class Body>
    json_writer& array(Body&& body) {
        return enclosed('[', ']', body);
    }
    /// To be followed by one value, object or array.
    json_writer& key(std::string_view name) {
        value(name);
        text_ += ':';
        fresh_ = true;
        return *this;
    }
    json_writer& value(std::string_view text) {
        comma();
        text_ += '"';
        for (const char c : text) {
            if (c == '"' || c == '\\') text_ += {'\\', c};
            else if (static_cast<unsigned char>(c) < 0x20) text_ += fmt::format("\\u{:04x}", c);
            else text_ += c;
        }
        text_ += '"';
        return *this;
    }
    json_writer& value(const char* text) { return value(std::string_view(text)); }
    json_writer& value(bool v) {
        comma();
        text_ += v ? "true" : "false";
        return *this;
    }
    template <std::integral T>
    requires(!std::same_as<T, bool>) json_writer& value(T v) {
        comma();
        text_ += fmt::to_string(v);
        return *this;
    }
    const std::string& text() const { return text_; }

private:
    template <class Body>
    json_writer& enclosed(char open, char close, Body& body) {
        comma();
        text_ += open;
        fresh_ = true;
        body();
        text_ += close;
        fresh_ = false;
        return *this;
    }
    void comma() {
        if (!fresh_) text_ += ',';
        fresh_ = false;
    }
    std::string text_;
    bool fresh_ = true;  // the next value is the first of its kind
};

}  // namespace skua::control
