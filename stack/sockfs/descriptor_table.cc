// Writers take the lock, readers an atomic pointer.
#include "sockfs/descriptor_table.hh"

namespace skua::sockfs {

descriptor_table::descriptor_table(std::unique_ptr<numbers> from)
    : numbers_(std::move(from)), chunks_(new std::atomic<chunk*>[most / chunk_size]()) {}

descriptor_table::~descriptor_table() {
    for (const auto& [fd, e] : entries()) (void)remove(fd);
}

descriptor_table::slot* descriptor_table::find(int fd) const {
    if (fd < 0 || fd >= most) return nullptr;
    chunk* c = chunks_[static_cast<std::size_t>(fd / chunk_size)].load(std::memory_order_acquire);
    return c ? &c->slots[fd % chunk_size] : nullptr;
}

/// Under the lock.
void descriptor_table::put(int fd, std::shared_ptr<file> f, bool close_on_exec) {
    auto& place = chunks_[static_cast<std::size_t>(fd / chunk_size)];
    if (place.load(std::memory_order_relaxed) == nullptr) {
        owned_.push_back(std::make_unique<chunk>());
        place.store(owned_.back().get(), std::memory_order_release);
    }
    used_[fd] = close_on_exec;
    find(fd)->store(std::move(f));
}

result<int> descriptor_table::install(std::shared_ptr<file> f, bool close_on_exec, int at_least) {
    const std::lock_guard hold(lock_);
    const auto fd = numbers_->take(at_least);
    if (!fd) return fd;
    if (*fd >= most) {
        numbers_->give_back(*fd);
        return fail(EMFILE);
    }
    put(*fd, std::move(f), close_on_exec);
    return fd;
}

result<std::shared_ptr<file>> descriptor_table::install_at(int fd, std::shared_ptr<file> f, bool close_on_exec) {
    const std::lock_guard hold(lock_);
    if (fd < 0 || fd >= most) return fail(EBADF);
    // Also if it is in use: the limit may have been lowered below it.
    if (auto ok = numbers_->take_this(fd); !ok) return fail(ok.error().code);
    slot* const s = find(fd);
    auto before = s ? s->load() : nullptr;
    put(fd, std::move(f), close_on_exec);
    return before;
}

std::shared_ptr<file> descriptor_table::get(int fd) const {
    slot* s = find(fd);
    return s ? s->load() : nullptr;
}

result<std::shared_ptr<file>> descriptor_table::remove(int fd) {
    const std::lock_guard hold(lock_);
    if (used_.erase(fd) == 0) return fail(EBADF);
    auto before = find(fd)->exchange(nullptr);
    // Last: from here on the number may be the kernel's.
    numbers_->give_back(fd);
    return before;
}

std::shared_ptr<file> descriptor_table::forget(int fd) {
    const std::lock_guard hold(lock_);
    if (used_.erase(fd) == 0) return nullptr;
    return find(fd)->exchange(nullptr);
}

result<bool> descriptor_table::close_on_exec(int fd) const {
    const std::lock_guard hold(lock_);
    const auto at = used_.find(fd);
    if (at == used_.end()) return fail(EBADF);
    return at->second;
}

result<void> descriptor_table::set_close_on_exec(int fd, bool on) {
    const std::lock_guard hold(lock_);
    const auto at = used_.find(fd);
    if (at == used_.end()) return fail(EBADF);
    at->second = on;
    return {};
}

std::map<int, descriptor_table::entry> descriptor_table::entries() const {
    const std::lock_guard hold(lock_);
    std::map<int, entry> all;
    for (const auto& [fd, cloexec] : used_) all.emplace_hint(all.end(), fd, entry{find(fd)->load(), cloexec});
    return all;
}

void descriptor_table::copy(const std::map<int, entry>& from) {
    for (const auto& [fd, e] : from) (void)install_at(fd, e.what, e.close_on_exec);
}

}  // namespace skua::sockfs
