// Numbers of the descriptors that the library keeps for itself.
#pragma once

#include <optional>

namespace skua::client::own_numbers {

// Any thread. A program that closes all it can (closefrom, a loop to the limit) must not close these: the preload asks.

void add(int fd);
/// Before it is closed.
void remove(int fd);
bool has(int fd);
/// The lowest from `first` on.
std::optional<int> next(int first);

}  // namespace skua::client::own_numbers
