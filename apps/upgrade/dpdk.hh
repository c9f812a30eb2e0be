// What both networks with frames need of DPDK.
#pragma once

#include <rte_mempool.h>

#include <stdexcept>
#include <string>
#include <tl/expected.hpp>
#include <type_traits>
#include <utility>

#include "control/config.hh"
#include "packet/pool.hh"

namespace skua::upgrade {

/// Throws the error as std::runtime_error.
template <class T>
T must(tl::expected<T, std::string> made) {
    if (!made) throw std::runtime_error(made.error());
    if constexpr (!std::is_void_v<T>) return std::move(*made);
}

/// The EAL of this process, for as long as it lives; again is no error.
void start_eal(const control::config& c);
packet::pool make_frame_pool(const std::string& name);
void start_port(std::uint16_t id, std::uint16_t queues, std::uint16_t descriptors, rte_mempool* pool);

}  // namespace skua::upgrade
