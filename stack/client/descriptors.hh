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
    /// Before the kernel's close. True: it was one of ours, and the last that this process knows of its socket.
    bool remove(int fd);

private:
    descriptors() = default;
    use recognise(int fd);
};

}  // namespace skua::client
