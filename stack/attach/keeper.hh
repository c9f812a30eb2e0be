// Who keeps the daemon's descriptors from its end to its next start.
#pragma once

#include <chrono>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

namespace skua::attach {

/// A descriptor under the name that it was given to keep. Several may have one name.
struct kept {
    std::string name;
    int fd = -1;
};

/// The service manager's descriptor store, or a process of our own where there is none.
class store {
public:
    virtual ~store() = default;
    /// Names: at most 31 characters, as systemd's FDNAME has them. False: they will not outlive the daemon.
    virtual bool keep(std::string_view name, std::span<const int> fds) = 0;
    virtual void drop(std::string_view name) = 0;
};

/// A small process that holds descriptors. It ends by itself once the daemon is gone and nothing is kept, or nobody has
/// come for it in time.
class keeper final : public store {
public:
    /// Asks the keeper that listens at `path` for what it has, into `left`, or starts one. Before the process has
    /// threads. The error is a text for people.
    static tl::expected<std::unique_ptr<keeper>, std::string> find(const std::string& path,
                                                                   std::chrono::seconds patience,
                                                                   std::vector<kept>& left);
    ~keeper() override;
    keeper(const keeper&) = delete;
    keeper& operator=(const keeper&) = delete;

    bool keep(std::string_view name, std::span<const int> fds) override;
    void drop(std::string_view name) override;

private:
    explicit keeper(int fd) : fd_(fd) {}
    const int fd_;
};

}  // namespace skua::attach
