// Chunks are added and never moved, so a lookup needs no lock.
#include "sockfs/descriptor_table.hh"

namespace skua::sockfs {

descriptor_table::descriptor_table(int limit)
    : limit_(limit),
      chunks_(new std::atomic<chunk*>[static_cast<std::size_t>((limit + chunk_size - 1) / chunk_size)]()) {}

descriptor_table::slot* descriptor_table::find(int fd) const {
    if (fd < 0 || fd >= limit_) return nullptr;
    chunk* c = chunks_[static_cast<std::size_t>(fd / chunk_size)].load(std::memory_order_acquire);
    return c ? &c->slots[fd % chunk_size] : nullptr;
}

result<int> descriptor_table::install(std::shared_ptr<file> f) {
    const std::lock_guard hold(lock_);
    int fd = lowest_free_;
    while (fd < static_cast<int>(used_.size()) && used_[static_cast<std::size_t>(fd)]) fd++;
    if (fd >= limit_) return fail(EMFILE);
    if (fd == static_cast<int>(used_.size())) used_.push_back(false);
    auto& place = chunks_[static_cast<std::size_t>(fd / chunk_size)];
    if (place.load(std::memory_order_relaxed) == nullptr) {
        owned_.push_back(std::make_unique<chunk>());
        place.store(owned_.back().get(), std::memory_order_release);
    }
    used_[static_cast<std::size_t>(fd)] = true;
    lowest_free_ = fd + 1;
    find(fd)->store(std::move(f));
    return fd;
}

std::shared_ptr<file> descriptor_table::get(int fd) const {
    slot* s = find(fd);
    return s ? s->load() : nullptr;
}

result<std::shared_ptr<file>> descriptor_table::remove(int fd) {
    const std::lock_guard hold(lock_);
    slot* s = find(fd);
    std::shared_ptr<file> f = s ? s->exchange(nullptr) : nullptr;
    if (!f) return fail(EBADF);
    used_[static_cast<std::size_t>(fd)] = false;
    lowest_free_ = std::min(lowest_free_, fd);
    return f;
}

std::vector<std::shared_ptr<file>> descriptor_table::remove_all() {
    std::vector<std::shared_ptr<file>> all;
    for (std::size_t fd = 0; fd < used_.size(); fd++)
        if (auto f = remove(static_cast<int>(fd))) all.push_back(std::move(*f));
    return all;
}

}  // namespace skua::sockfs
