// Where the datagrams of a flow go, and why.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>
#include <vector>

#include "base/address.hh"
#include "udp/explain.hh"

namespace skua::control {

class stack;

struct explanation {
    flow_key flow;
    std::string port;           // it comes in on
    std::uint32_t hash = 0;     // five-tuple (Toeplitz)
    std::size_t reta_size = 0;  // 0: the port has no table that is known
    std::uint32_t reta_entry = 0;
    std::uint16_t queue = 0;
    std::uint16_t shard = 0;  // that receives it
    udp::explanation lookup;  // its pointers are void by now
    std::string socket;       // "198.18.0.1:7"; empty: nobody gets it
    std::uint16_t home = 0;   // the socket's shard
    bool crosses = false;     // from shard to shard
    std::optional<std::uint32_t> generation;
    std::vector<std::string> hardware;  // what the NIC does for it
    std::vector<std::string> software;  // what is done here, and why

    /// Names and values in the order of the way; names of letters, digits and "_".
    std::vector<std::pair<std::string, std::string>> rows() const;
    /// A row on each line.
    std::string text() const;
};

/// Of datagrams that come in on this port (an interface's name; empty: the first port). Any thread. The error is a text
/// for people.
tl::expected<explanation, std::string> explain(const stack& s, const flow_key& flow, std::string_view port = {});
/// "LOCAL,REMOTE[,PORT]": "198.18.0.1:7,198.18.0.2:40000,p0".
tl::expected<explanation, std::string> explain(const stack& s, std::string_view question);

}  // namespace skua::control
