// What the tests of whole programs share: children, and what they do.
#pragma once

#include <sys/types.h>

#include <functional>

#include "posix/posix.hh"

namespace skua::test {

/// Waits for a datagram by poll and sends it back in capitals.
bool answer_one(int fd);
/// Sends a word to the socket from one of its own, and has it answered.
void expect_an_answer(const name& from);

/// A child that is done when its work returns; it must return true.
pid_t fork_child(const std::function<bool()>& work);
void expect_success(pid_t child);
/// This program as answer-one or answer-passed, in place of the caller's.
[[noreturn]] void become(const char* mode, int fd);

bool runs_under_the_preload();

}  // namespace skua::test
