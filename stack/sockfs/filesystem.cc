// Registration, mounting, and the numbering of inodes.
#include "sockfs/filesystem.hh"

namespace skua::sockfs {

inode::inode(std::shared_ptr<superblock> of, std::uint64_t number, socket::udp_socket_ptr s, uid_t owner)
    : of_(std::move(of)), number_(number), owner_(owner), socket_(std::move(s)) {
    socket_->set_inode_number(number);
}

inode::~inode() { of_->inodes_.remove(number_); }

std::shared_ptr<inode> superblock::make_inode(socket::udp_socket_ptr s, uid_t owner) {
    const std::uint64_t number = inodes_.next_number();
    auto made = std::make_shared<inode>(shared_from_this(), number, std::move(s), owner);
    inodes_.add(number, made);
    return made;
}

std::vector<std::shared_ptr<const inode>> superblock::inodes() const {
    std::vector<std::shared_ptr<const inode>> all;
    for (const auto& [number, weak] : inodes_.all())
        if (auto i = weak.lock()) all.push_back(std::move(i));
    return all;
}

result<void> filesystems::register_type(const std::string& name) {
    if (name.empty()) return fail(EINVAL);
    const std::lock_guard hold(lock_);
    if (!types_.try_emplace(name).second) return fail(EBUSY);
    return {};
}

result<void> filesystems::unregister_type(const std::string& name) {
    const std::lock_guard hold(lock_);
    const auto at = types_.find(name);
    if (at == types_.end()) return fail(EINVAL);
    if (at->second) return fail(EBUSY);
    types_.erase(at);
    return {};
}

result<std::shared_ptr<superblock>> filesystems::mount(const std::string& name) {
    const std::lock_guard hold(lock_);
    const auto at = types_.find(name);
    if (at == types_.end()) return fail(ENODEV);
    if (at->second) return fail(EBUSY);
    at->second = std::make_shared<superblock>(name, ++last_device_);
    return at->second;
}

result<void> filesystems::unmount(const std::string& name) {
    const std::lock_guard hold(lock_);
    const auto at = types_.find(name);
    if (at == types_.end() || !at->second) return fail(EINVAL);
    if (at->second->inode_count() != 0) return fail(EBUSY);
    at->second.reset();
    return {};
}

std::vector<std::string> filesystems::types() const {
    const std::lock_guard hold(lock_);
    std::vector<std::string> names;
    for (const auto& [name, mounted] : types_) names.push_back(name);
    return names;
}

}  // namespace skua::sockfs
