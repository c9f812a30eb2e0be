// Which descriptors of this process are sockets of the daemon.
#pragma once

#include <memory>

#include "client/remote_socket.hh"

namespace skua::client {

/// A table by descriptor number; any thread. What the kernel says of a descriptor comes first: one that was never seen
/// here (by exec, from another process) is recognised by the name of its other end.
class descriptors {
public:
    static descriptors& instance();

    /// Keeps the socket while in use, even if another thread closes its descriptor.
    class use {
    public:
        use() = default;
        use(use&& other) noexcept : slot_(std::exchange(other.slot_, nullptr)) {}
        use& operator=(use&&) = delete;
        ~use();
        explicit operator bool() const { return slot_ != nullptr; }
        remote_socket* operator->() const;
        remote_socket& operator*() const { return *operator->(); }

    private:
        friend class descriptors;
        explicit use(struct slot* s) : slot_(s) {}
        struct slot* slot_ = nullptr;
    };

    /// False as a bool: not one of ours.
    use find(int fd);
    void add(int fd, std::unique_ptr<remote_socket> s);
    /// `to` has become the same as `from`.
    void duplicated(int from, int to);
    /// Before the kernel's close, and where a number comes into use unseen: what it is, is found out anew. True: it was
    /// one of ours, and the last that this process knows of its socket.
    bool remove(int fd);
    /// The same for all numbers of a range.
    bool remove(unsigned first, unsigned last);
    /// From now on it is told of each descriptor that comes or goes: those that are not ours are not asked about twice.
    void sees_all() { sees_all_ = true; }

private:
    constexpr descriptors() = default;
    use recognise(int fd);

    bool sees_all_ = false;
};

}  // namespace skua::client
