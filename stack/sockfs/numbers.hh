// Where the numbers of descriptors come from: counted by ourselves, or lent by the kernel.
#pragma once

#include <vector>

#include "base/result.hh"

namespace skua::sockfs {

/// Called under the lock of its table.
class numbers {
public:
    virtual ~numbers() = default;
    /// The lowest free number from `at_least` on. Errors: EMFILE; EINVAL at_least out of range.
    virtual result<int> take(int at_least) = 0;
    /// This number. Error: EBADF out of range.
    virtual result<void> take_this(int number) = 0;
    /// One that was taken.
    virtual void give_back(int number) = 0;
};

/// Counts from 0.
class own_numbers final : public numbers {
public:
    /// `limit`: RLIMIT_NOFILE.
    explicit own_numbers(int limit = 1024) : limit_(limit) {}
    result<int> take(int at_least) override;
    result<void> take_this(int number) override;
    void give_back(int number) override;

private:
    const int limit_;
    std::vector<bool> used_;
    int lowest_free_ = 0;  // no number below it is free
};

/// Numbers that the kernel gives to no file of its own meanwhile: each is held by a descriptor that nobody can use. So
/// one number is never two files, and the kernel's limits hold for both kinds together.
class kernel_numbers final : public numbers {
public:
    /// Throws std::system_error.
    kernel_numbers();
    ~kernel_numbers() override;
    result<int> take(int at_least) override;
    result<void> take_this(int number) override;
    void give_back(int number) override;

private:
    const int holder_;
};

}  // namespace skua::sockfs
