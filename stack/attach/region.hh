// Memory that is handed to another process: a sealed memfd and its mapping.
#pragma once

#include <cstddef>
#include <span>
#include <utility>

#include "base/result.hh"

namespace skua::attach {

/// A mapping of a whole region; move-only.
class region {
public:
    region() = default;
    region(region&& other) noexcept : bytes_(std::exchange(other.bytes_, {})), fd_(std::exchange(other.fd_, -1)) {}
    region& operator=(region&& other) noexcept {
        std::swap(bytes_, other.bytes_);
        std::swap(fd_, other.fd_);
        return *this;
    }
    ~region();

    /// Zeros, which nobody can make shorter: else whoever holds the other end could make us fault. Errors: ENOMEM,
    /// EMFILE, ENFILE.
    static result<region> make(const char* name, std::size_t size);
    /// From a descriptor that was received; takes it over. Errors: EINVAL not such a region, or smaller than `least`;
    /// ENOMEM.
    static result<region> open(int fd, std::size_t least);

    std::span<std::byte> bytes() const { return bytes_; }
    int fd() const { return fd_; }
    /// The mapping stays; nobody can be given it any more.
    void forget_descriptor();
    template <class T>
    T* as() const {
        return reinterpret_cast<T*>(bytes_.data());
    }

private:
    std::span<std::byte> bytes_;
    int fd_ = -1;
};

}  // namespace skua::attach
