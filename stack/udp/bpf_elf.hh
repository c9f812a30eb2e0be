// Taking the program out of an ELF object, as a compiler makes it for BPF.
#pragma once

#include <cstddef>
#include <span>

#include "base/result.hh"

namespace skua::udp {

bool is_elf(std::span<const std::byte> bytes);

/// The instructions of the object's program: of its one section with code, or, among several, of the one whose name
/// begins with "socket" or "sk_reuseport". Errors: EINVAL no ELF object for BPF; no such section or more than one; the
/// program refers to something outside of it (a map, a variable, a function).
result<std::span<const std::byte>> program_in_elf(std::span<const std::byte> object);

}  // namespace skua::udp
