// The service manager's descriptor store (systemd: FileDescriptorStoreMax=).
#pragma once

#include <memory>
#include <vector>

#include "attach/keeper.hh"

namespace skua {

/// Keeps descriptors with whoever listens at $NOTIFY_SOCKET, and takes those it passed on from the daemon before.
class manager_store final : public attach::store {
public:
    static std::unique_ptr<manager_store> find(std::vector<attach::kept>& left);
    bool keep(std::string_view name, std::span<const int> fds) override;
    void drop(std::string_view name) override;
};

}  // namespace skua
